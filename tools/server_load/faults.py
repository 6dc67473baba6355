"""Requests that are wrong, and the statuses that a server may give them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.server_load.requests import Request

_REFUSED = frozenset({400})
_MAY_BE_REFUSED = frozenset({200, 400})
_BODY_LIMIT = 4 << 20
_ODD_VALUES: tuple[Any, ...] = ([], {}, "x", -1, 1.5, 10**30, True, [[1]], {"a": 1}, "\ud800", "\0")
_ODD_SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "nonsense"},
    {"$ref": "#/missing"},
    {"type": "string", "pattern": "("},
    {"not": {"type": "string"}},
    {"type": "integer", "minimum": 3, "maximum": 2},
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A wrong request.

    Attributes:
        kind: What is wrong, for reports.
        path: The endpoint.
        content: The body.
        statuses: The statuses that are right.
        chunked: Send the body in chunks, without its length.
    """

    kind: str
    path: str
    content: bytes
    statuses: frozenset[int] = _REFUSED
    chunked: bool = False


def make_fault(pick: random.Random, request: Request) -> Fault:
    """Return a random fault, made from a valid request."""
    return pick.choice(_MAKERS)(pick, request)


def one_of_each(pick: random.Random, request: Request) -> list[Fault]:
    """Return a fault of each kind."""
    return [make(pick, request) for make in dict.fromkeys(_MAKERS)]


def _content(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _malformed(pick: random.Random, request: Request) -> Fault:
    content = _content(request.body)
    broken = pick.choice([content[: pick.randrange(len(content))], content.replace(b":", b"=", 1), content + b"}"])
    return Fault("malformed JSON", request.path, broken)


def _bad_utf8(pick: random.Random, request: Request) -> Fault:
    bad = pick.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
    content = _content(request.body).replace(b'"demo"', b'"demo' + bad + b'"')
    return Fault("bad UTF-8", request.path, content)


def _deep_body(pick: random.Random, request: Request) -> Fault:
    depth = pick.choice([100, 5_000, 100_000])
    name = next(name for name in request.body if name != "model")
    inside = b"[" * depth + b"]" * depth
    return Fault("deep body", request.path, b'{"model": "demo", "%s": %s}' % (name.encode(), inside))


def _deep_schema(pick: random.Random, request: Request) -> Fault:
    depth = pick.choice([20, 200, 2_000, 20_000])
    begin, end = pick.choice([(b'{"properties": {"a": ', b"}}"), (b'{"items": ', b"}"), (b'{"anyOf": [', b"]}")])
    schema = begin * depth + b'{"type": "integer"}' + end * depth
    return _with_schema("deep schema", schema, _MAY_BE_REFUSED)


def _odd_schema(pick: random.Random, request: Request) -> Fault:
    return _with_schema("odd schema", _content(pick.choice(_ODD_SCHEMAS)), _REFUSED)


def _large_schema(pick: random.Random, request: Request) -> Fault:
    names = {f"name_{number}": {"type": "string"} for number in range(pick.choice([100, 1_000]))}
    schema = {"type": "object", "properties": names, "required": list(names)}
    return _with_schema("large schema", _content(schema), _MAY_BE_REFUSED)


def _with_schema(kind: str, schema: bytes, statuses: frozenset[int]) -> Fault:
    body = _content({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3})
    form = b', "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": %s}}}'
    return Fault(kind, "/v1/chat/completions", body[:-1] + form % schema, statuses)


def _wrong_type(pick: random.Random, request: Request) -> Fault:
    body = request.body | {pick.choice(list(request.body)): pick.choice(_ODD_VALUES)}
    return Fault("wrong type", request.path, _content(body), frozenset({200, 400, 404}))


def _huge(pick: random.Random, request: Request) -> Fault:
    path = "/v1/completions"
    body: dict[str, Any] = {"model": "demo", "prompt": "x", "max_tokens": 1}
    more: dict[str, Any] = pick.choice(
        [
            {"n": 1_000_000},
            {"n": 10**300},
            {"stop": ["x"] * 10_000},
            {"stop": "x" * 100_000},
            {"prompt": ["x"] * 10_000},
            {"prompt": [5] * 500_000},
            {"prompt": "fox " * 100_000},
            {"logit_bias": {str(number): 1000 for number in range(10_000)}},
        ]
    )
    return Fault(f"huge {next(iter(more))}", path, _content(body | more))


def _oversized(pick: random.Random, request: Request) -> Fault:
    content = b'{"prompt": "' + b"x" * (_BODY_LIMIT + pick.choice([0, 1 << 20]))
    return Fault("oversized body", request.path, content, frozenset({413}), chunked=pick.random() < 0.5)


def _unknown(pick: random.Random, request: Request) -> Fault:
    if pick.random() < 0.5:
        return Fault(
            "unknown path", pick.choice(["/v2/chat", "/../etc/passwd", "/v1/%00"]), b"{}", frozenset({404, 405})
        )
    return Fault("unknown field", request.path, _content(request.body | {"no_such_field": 1}))


_MAKERS: tuple[Callable[[random.Random, Request], Fault], ...] = (
    _malformed,
    _bad_utf8,
    _deep_body,
    _deep_schema,
    _odd_schema,
    _large_schema,
    _wrong_type,
    _wrong_type,
    _huge,
    _oversized,
    _unknown,
)
