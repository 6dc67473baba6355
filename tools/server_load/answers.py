"""Whether an answer is complete, and what must be equal in two answers to the same request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_CHANGING = frozenset({"id", "call_id", "item_id", "created", "created_at", "completed_at", "cached_tokens"})
"""Fields that differ each time: names, dates, and what was in the cache."""


class IncompleteError(Exception):
    """An answer lacks its end, or is an error."""


def canonical(text: str, *, stream: bool) -> str:
    """Return a complete answer as JSON without what differs each time.

    The chunks of one choice keep their order. The choices of a stream come in any order, so they are sorted.

    Args:
        text: The body of the response.
        stream: Whether it consists of server-sent events.

    Raises:
        IncompleteError: The answer is cut, or has an error in it.
    """
    parts = list(_events(text)) if stream else [_load(text)]
    if stream:
        _check_end(parts)
    for part in parts:
        _check_no_error(part)
    _check_choices(parts)
    if all(isinstance(part, dict) and "choices" in part for part in parts):
        parts.sort(key=lambda part: part["choices"][0]["index"] if part["choices"] else 1 << 30)
    return json.dumps([_strip(part) for part in parts], sort_keys=True)


def first_difference(one: str, other: str) -> str:
    """Return both texts around the first character that differs."""
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin = max(at - 60, 0)
    return f"{one[begin : at + 60]!r} became {other[begin : at + 60]!r}"


def _events(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else _load(data)


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise IncompleteError(f"no JSON: {text[-200:]!r}") from error


def _check_end(parts: list[Any]) -> None:
    """Check the last event of each API, and remove OpenAI's `[DONE]`."""
    if not parts:
        raise IncompleteError("a stream without events")
    last = parts[-1]
    if last == "[DONE]":
        parts.pop()
    elif last.get("type") not in ("message_stop", "response.completed", "response.incomplete"):
        raise IncompleteError(f"a stream that ends with {str(last)[:200]}")


def _check_no_error(part: Any) -> None:
    if isinstance(part, dict) and (part.get("error") is not None or part.get("type") == "error"):
        raise IncompleteError(f"an error in the answer: {str(part)[:200]}")


def _check_choices(parts: list[Any]) -> None:
    """Check that each choice has ended."""
    choices = [choice for part in parts if isinstance(part, dict) for choice in part.get("choices", ())]
    ended = {choice["index"] for choice in choices if choice["finish_reason"] is not None}
    if missing := {choice["index"] for choice in choices} - ended:
        raise IncompleteError(f"no finish reason of the choices {sorted(missing)}")


def _strip(value: Any) -> Any:
    if isinstance(value, list):
        return [_strip(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _strip(one) for key, one in value.items() if key not in _CHANGING}
    if "cache_read_input_tokens" in kept:  # Anthropic counts the tokens of the cache apart from the others
        kept["input_tokens"] += kept.pop("cache_read_input_tokens")
    return kept
