"""The same request with the same seed gives the same bytes and usage, alone or among others."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bitnet_tt import BitNetModel
from bitnet_tt.server.settings import ServerSettings
from tests.server.conftest import serving

WORDS = ["Once upon a time", "The capital of France is", "A cat", "Hello", "One day, a little girl named Lily"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]}


def requests() -> list[tuple[str, dict[str, Any]]]:
    """Return requests of every kind: greedy and sampled, with and without stop strings, logprobs and choices."""
    pick = random.Random(1)
    result: list[tuple[str, dict[str, Any]]] = []
    for seed in range(36):
        body: dict[str, Any] = {
            "seed": seed,
            "temperature": pick.choice([0, 0.5, 1, 1.8]),
            "top_p": pick.choice([1, 0.9, 0.5]),
            "top_k": pick.choice([0, 5, 40]),
            "min_p": pick.choice([0, 0.05]),
            "repetition_penalty": pick.choice([1, 1.2]),
            "max_tokens": pick.choice([1, 7, 30, 60]),
            "n": pick.choice([1, 1, 2, 3]),
            "stop": pick.choice([[], ["."], [" the", "\n"]]),
            "stream": pick.random() < 0.3,
        }
        prompt = " ".join(pick.choices(WORDS, k=pick.choice([1, 3, 12])))
        if seed % 2:
            body |= {"messages": [{"role": "user", "content": prompt}], "logprobs": pick.random() < 0.3}
            if pick.random() < 0.3:
                body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
            result.append(("/v1/chat/completions", body))
        else:
            body |= {"prompt": prompt, "logprobs": pick.choice([None, 2]), "echo": pick.random() < 0.3}
            result.append(("/v1/completions", body))
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
    return result


def what_the_client_gets(server, path: str, body: dict[str, Any]) -> list[Any]:
    """Return the answer by choice, without what differs each time: ids, dates, and what was in the cache."""
    if body["stream"]:
        parts = [json.loads(data) for data in server.events(path, body)[:-1]]
    else:
        parts = [server.post(path, body).json()]
    usage = parts[-1]["usage"]
    usage.pop("prompt_tokens_details")
    choices = [choice for part in parts for choice in part["choices"]]
    # The chunks of the choices of one stream come in any order.
    return [sorted(choices, key=lambda choice: choice["index"]), usage, parts[0]["system_fingerprint"]]


def test_requests_give_the_same_alone_and_all_at_once(server) -> None:
    todo = requests()
    alone = [what_the_client_gets(server, path, body) for path, body in todo]
    order = random.Random(2).sample(range(len(todo)), len(todo))
    with ThreadPoolExecutor(len(todo)) as clients:
        together = dict(
            zip(order, clients.map(lambda number: what_the_client_gets(server, *todo[number]), order), strict=True)
        )
    assert [together[number] for number in range(len(todo))] == alone


def test_speculation_changes_nothing(server) -> None:
    todo = requests()
    plain = [what_the_client_gets(server, path, body) for path, body in todo]
    with BitNetModel.from_pretrained("demo", speculate=True) as model, serving(model, ServerSettings()) as other:
        assert [what_the_client_gets(other, path, body) for path, body in todo] == plain
