"""Valid requests of every kind. Each has a seed, so its answer must always be the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_TEXTS = (
    "Once upon a time",
    "The capital of France is",
    "Tell me a story about a fox.",
    "One day, a little girl named Lily",
    "Über 日本語 🦊 and <|eot_id|>",
    "Hello",
)
_SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "object", "properties": {"a": {"type": "string", "maxLength": 20}}, "required": ["a"]},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 4},
    {"type": "object", "properties": {"b": {"enum": ["x", "ü", 3]}, "c": {"type": "boolean"}}, "required": ["b", "c"]},
)
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string", "maxLength": 12}},
            "required": ["word"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request.

    Attributes:
        kind: Its kind, for reports.
        path: The endpoint.
        body: The fields.
    """

    kind: str
    path: str
    body: dict[str, Any]

    @property
    def stream(self) -> bool:
        """Whether the answer comes as events."""
        return bool(self.body.get("stream"))


def make_requests(count: int, seed: int) -> list[Request]:
    """Return different requests, all kinds in turn.

    Args:
        count: How many.
        seed: Equal seeds give equal requests.
    """
    pick = random.Random(seed)
    makers = list(_MAKERS.items())
    made = []
    for number in range(count):
        kind, (path, make) = makers[number % len(makers)]
        body = {"model": "demo"} | make(pick)
        made.append(Request(f"{kind}, stream" if body.get("stream") else kind, path, body))
    return made


def _text(pick: random.Random) -> str:
    return " ".join(pick.choices(_TEXTS, k=pick.choice([1, 1, 3, 10])))


def _turns(pick: random.Random) -> list[dict[str, str]]:
    roles = ["user", *["assistant", "user"] * pick.choice([0, 0, 1, 2])]
    return [{"role": role, "content": pick.choice(_TEXTS)} for role in roles]


def _sampling(pick: random.Random) -> dict[str, Any]:
    return {
        "seed": pick.randrange(1 << 32),
        "temperature": pick.choice([0, 0.5, 1]),
        "top_p": pick.choice([1, 0.9]),
        "top_k": pick.choice([0, 5, 40]),
        "stream": pick.random() < 0.5,
    }


def _openai(pick: random.Random) -> dict[str, Any]:
    body = _sampling(pick) | {
        "n": pick.choice([1, 1, 1, 2, 4]),
        "stop": pick.choice([[], ["."], [" the", "\n"]]),
        "max_tokens": pick.choice([1, 20, 60, 200]),
        "repetition_penalty": pick.choice([1, 1.2]),
    }
    return body | ({"stream_options": {"include_usage": True}} if body["stream"] else {})


def _chat(pick: random.Random) -> dict[str, Any]:
    logprobs = {"logprobs": True, "top_logprobs": 3} if pick.random() < 0.3 else {}
    return _openai(pick) | {"messages": _turns(pick)} | logprobs


def _completion(pick: random.Random) -> dict[str, Any]:
    prompts = [_text(pick), [_text(pick), _text(pick)], pick.choices(range(3, 2000), k=pick.choice([1, 50, 250]))]
    return _openai(pick) | {"prompt": pick.choice(prompts)}


def _echo(pick: random.Random) -> dict[str, Any]:
    return _completion(pick) | {"echo": True, "logprobs": pick.choice([0, 5]), "max_tokens": pick.choice([0, 20])}


def _many(pick: random.Random) -> dict[str, Any]:
    return _completion(pick) | {"prompt": _text(pick), "n": 16, "max_tokens": 100, "ignore_eos": True}


def _schema(pick: random.Random) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": pick.choice(_SCHEMAS)}}
    return _chat(pick) | {"stop": [], "response_format": pick.choice([form, form, {"type": "json_object"}])}


def _tools(pick: random.Random) -> dict[str, Any]:
    choice = pick.choice(["auto", "required"])
    return _chat(pick) | {"stop": [], "tools": [_TOOL], "tool_choice": choice, "parallel_tool_calls": False}


def _message(pick: random.Random) -> dict[str, Any]:
    return _sampling(pick) | {"messages": _turns(pick), "max_tokens": pick.choice([1, 50, 150]), "system": "Be kind."}


def _response(pick: random.Random) -> dict[str, Any]:
    return _sampling(pick) | {"input": _text(pick), "max_output_tokens": pick.choice([1, 50, 150])}


_MAKERS: dict[str, tuple[str, Callable[[random.Random], dict[str, Any]]]] = {
    "chat": ("/v1/chat/completions", _chat),
    "completion": ("/v1/completions", _completion),
    "echo": ("/v1/completions", _echo),
    "16 choices": ("/v1/completions", _many),
    "schema": ("/v1/chat/completions", _schema),
    "tools": ("/v1/chat/completions", _tools),
    "message": ("/v1/messages", _message),
    "response": ("/v1/responses", _response),
    "tokenize": ("/tokenize", lambda pick: {"content": _text(pick), "with_pieces": True}),
    "template": ("/apply-template", lambda pick: {"messages": _turns(pick)}),
    "count tokens": ("/v1/messages/count_tokens", lambda pick: {"messages": _turns(pick)}),
}
