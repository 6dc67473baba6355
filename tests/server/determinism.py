"""Requests of every kind, and what their clients get: for tests that it never depends on anything else.

A longer run than that of the tests, with a number of requests and the longest answer in tokens:

    uv run python -m tests.server.determinism 1000 150
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx

from bitnet_tt import BitNetModel
from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.server.settings import Limits, ServerSettings
from tests.server.conftest import RunningServer, serving

type Body = dict[str, Any]

_WORDS = ["Once upon a time", "The capital of France is", "A cat", "Hello", "One day, a little girl named Lily"]
_BEGINNING = "Lily went to the park with her dog. The dog ran and ran. The dog saw a big red ball. " * 2
_SCHEMAS: list[Body] = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
    {"type": "string", "pattern": "^(once|the) [a-z]{1,9}( [a-z]{1,9}){0,3}[.]$"},
    {"type": "array", "items": {"enum": ["yes", "no", "perhaps"]}, "minItems": 2, "maxItems": 4},
]
_TOOL = {"type": "function", "function": {"name": "look", "parameters": _SCHEMAS[0]}}


@contextmanager
def fresh_server(*, speculate: bool = False, max_batch_size: int = 8) -> Iterator[RunningServer]:
    """Serve a model that nobody has used yet. Its queue has room for all requests of a test."""
    settings = ServerSettings(max_batch_size=max_batch_size, limits=Limits(queue=10_000))
    with (
        BitNetModel.from_pretrained("demo", speculate=speculate, max_batch_size=max_batch_size) as model,
        serving(model, settings) as server,
    ):
        yield server


def check_everything(count: int, longest: int, seed: int = 1) -> None:
    """Compare requests alone with the same all at once, without prefix cache, with it, and with speculation too."""
    todo = make_requests(count, seed, longest)
    with patch.object(BlockPool, "share_prefix", lambda *_: []), fresh_server() as server:
        alone, cached = answers(server, todo, together=False)
        assert cached == 0
        assert answers(server, todo, together=True, seed=seed + 1) == (alone, 0)
    for speculate in (False, True):
        with fresh_server(speculate=speculate) as server:
            together, cached = answers(server, todo, together=True, seed=seed + 2 + speculate)
            assert together == alone
            assert cached > 0


def make_requests(count: int, seed: int, longest: int) -> list[tuple[str, Body]]:
    """Return the path and body of random requests.

    Args:
        count: How many.
        seed: Of the choice.
        longest: Maximum number of tokens of an answer.
    """
    pick = random.Random(seed)
    return [_make_request(pick, number, longest) for number in range(count)]


def _make_request(pick: random.Random, number: int, longest: int) -> tuple[str, Body]:
    body: Body = {
        "model": "demo",
        "seed": number,
        "temperature": pick.choice([0, 0.5, 1, 1.8]),
        "top_p": pick.choice([1, 1, 0.9, 0.5]),
        "top_k": pick.choice([0, 0, 5, 40]),
        "min_p": pick.choice([0, 0, 0.05]),
        "repetition_penalty": pick.choice([1, 1, 1.2, 0.5]),
        "presence_penalty": pick.choice([0, 0, 1.5]),
        "frequency_penalty": pick.choice([0, 0, -0.5]),
        "logit_bias": pick.choice([{}, {}, {"5": 3, "300": -100}]),
        "max_tokens": pick.choice([1, 7, longest // 2, longest]),
        "n": pick.choice([1, 1, 1, 2, 3]),
        "stop": pick.choice([[], [], ["."], [" the", "\n"]]),
        "stream": pick.random() < 0.3,
    }
    if body["stream"]:
        body["stream_options"] = {"include_usage": True}
    prompt = _BEGINNING * pick.choice([0, 0, 1]) + " ".join(pick.choices(_WORDS, k=pick.choice([1, 3, 12])))
    if pick.random() < 0.5:
        return "/v1/completions", body | {
            "prompt": prompt,
            "logprobs": pick.choice([None, None, 2]),
            "echo": pick.random() < 0.2,
            "ignore_eos": pick.random() < 0.3,
        }
    body |= {"messages": [{"role": "user", "content": prompt}], "logprobs": pick.random() < 0.2}
    match pick.randrange(5):
        case 0 | 1:
            schema = {"name": "x", "schema": pick.choice(_SCHEMAS)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        case 2:
            body |= {"tools": [_TOOL], "tool_choice": pick.choice(["auto", "required"])}
    return "/v1/chat/completions", body


def answers(
    server: RunningServer, todo: Sequence[tuple[str, Body]], *, together: bool, seed: int = 0
) -> tuple[list[Any], int]:
    """Send requests and return what their clients get, in the order of `todo`, and how many tokens were cached.

    Args:
        server: The server.
        todo: The requests.
        together: All at once in random order, among as many others whose clients leave. Else one after another.
        seed: Of the random order.
    """
    pick = random.Random(seed)
    order = list(range(len(todo)))
    with httpx.Client(base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=None)) as client:
        if not together:
            found = [_answer(client, *todo[number]) for number in order]
        else:
            jobs = [(number, 0) for number in order] + [(number, pick.randrange(1, 9)) for number in order[::2]]
            pick.shuffle(jobs)
            with ThreadPoolExecutor(len(jobs)) as clients:
                results = list(clients.map(lambda job: _play(client, *todo[job[0]], leave_after=job[1]), jobs))
            by_number = {number: got for (number, leaves), got in zip(jobs, results, strict=True) if not leaves}
            found = [by_number[number] for number in order]
    return [got for got, _ in found], sum(cached for _, cached in found)


def _play(client: httpx.Client, path: str, body: Body, *, leave_after: int) -> tuple[Any, int]:
    if not leave_after:
        return _answer(client, path, body)
    with (
        contextlib.suppress(httpx.RemoteProtocolError, StopIteration),
        client.stream("POST", path, json=body | {"stream": True, "stream_options": None}) as response,
    ):
        lines = response.iter_lines()
        for _ in range(leave_after):
            next(lines)
    return None, 0


def _answer(client: httpx.Client, path: str, body: Body) -> tuple[Any, int]:
    """Return the answer by choice, without what differs each time: ids and dates; and its cached tokens."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    if body.get("stream"):
        events = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        parts = [json.loads(event) for event in events[:-1]]
    else:
        parts = [response.json()]
    usage = parts[-1]["usage"]
    cached = usage.pop("prompt_tokens_details")["cached_tokens"]
    # The chunks of the choices of one stream come in any order.
    choices = sorted((choice for part in parts for choice in part["choices"]), key=lambda choice: choice["index"])
    return [_without_ids(choices), usage, parts[0]["system_fingerprint"]], cached


def _without_ids(value: Any) -> Any:
    """Return a JSON value without the random ids of tool calls."""
    if isinstance(value, dict):
        return {key: _without_ids(one) for key, one in value.items() if key != "id"}
    return [_without_ids(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    check_everything(count=int(sys.argv[1]), longest=int(sys.argv[2]))
