"""Launch the parts of a step that several cards have, one after another or in turns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

type Part[T] = Generator[None, None, T]
"""Launches a card's part of a step. It stops behind each layer, and at its end returns a result."""


def run[T](part: Part[T]) -> T:
    """Launch a part to its end."""
    while True:
        try:
            next(part)
        except StopIteration as end:
            result: T = end.value
            return result


def run_in_turns[T](parts: Sequence[Part[T]]) -> list[T]:
    """Launch parts that are equally long in turns, a layer of each at a time.

    Cards that exchange columns wait for each other in every layer, and a card's queue has no room for a whole step. If
    one card got all of its part first, its queue could fill up, and the host would wait for it for ever.
    """
    results: dict[int, Any] = {}
    while len(results) < len(parts):
        for index, part in enumerate(parts):
            try:
                next(part)
            except StopIteration as end:
                results[index] = end.value
    return [results[index] for index in range(len(parts))]
