"""Greedy texts on a device, step by step, and what the host copies to it meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import ttnn

from bitnet_tt.backends.base import NEXT, Batch, Candidates, LogitFilter, StepResult
from bitnet_tt.backends.tt.planning.grid import TILE
from tests.device.paged import PagedFeeder

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend

STEPS = (((0, 1), 12), ((0,), 3), ((0, 1), 5))
"""The sequences that decode together, and for how many steps."""

_PROMPTS = (28, 126)
"""Tokens of the prompts. The texts grow into new blocks, and to a step of another shape, beyond 128 positions."""


def greedy_texts(backend: TTBackend, limit: LogitFilter | None) -> tuple[list[list[int]], list[int]]:
    """Return the greedy texts of two sequences, and in which steps the host copied something to the device.

    Args:
        backend: The model.
        limit: Passes at least the largest logit. None starts each step before the one before it is read.
    """
    feeder = PagedFeeder(backend, sequences=2, blocks_each=6)
    random = np.random.default_rng(1)
    texts = [random.integers(0, 500, length).tolist() for length in _PROMPTS]
    feeder.feed({index: text[:-1] for index, text in enumerate(texts)})
    copied: list[bool] = []
    for together, steps in STEPS:
        unread: deque[StepResult] = deque()
        for step in range(steps):
            known = limit is not None or step == 0
            batch = feeder.batch({index: texts[index][-1:] if known else [NEXT] for index in together})
            with counted_copies() as copies:
                unread.append(_start(backend, batch, limit))
            copied.append(bool(copies))
            if limit is not None or step > 0:
                _append(unread.popleft()(), together, texts)
        while unread:
            _append(unread.popleft()(), together, texts)
    return texts, [step for step, some in enumerate(copied) if some]


def _start(backend: TTBackend, batch: Batch, limit: LogitFilter | None) -> StepResult:
    if limit is not None:
        rows = backend.candidates(batch, [limit] * len(batch.logit_rows))
        return lambda: rows
    result = backend.start(batch)
    assert result is not None
    return result


def _append(rows: list[Candidates], together: Sequence[int], texts: list[list[int]]) -> None:
    for index, row in zip(together, rows, strict=True):
        place = int(np.argmax(row.logits))
        texts[index].append(place if row.token_ids is None else int(row.token_ids[place]))


def steps_that_change() -> list[int]:
    """Return the steps of `greedy_texts` before which a sequence joins or leaves, or one of them enters a block."""
    changes, step, positions = [], 0, [length - 1 for length in _PROMPTS]
    for together, steps in STEPS:
        for index in range(steps):
            if index == 0 or any(positions[i] % TILE == 0 for i in together):
                changes.append(step)
            for i in together:
                positions[i] += 1
            step += 1
    return changes


@contextmanager
def counted_copies() -> Iterator[list[str]]:
    """Note each copy from the host to a tensor on the device, and each tensor that is made there from an array."""
    copies: list[str] = []
    copy, make = ttnn.copy_host_to_device_tensor, ttnn.Tensor

    def noting_copy(*arguments: Any) -> Any:
        copies.append("copy")
        return copy(*arguments)

    def noting_make(array: Any, dtype: Any, device: Any, layout: Any) -> Any:
        if device is not None:
            copies.append("tensor")
        return make(array, dtype, device, layout)

    with (
        mock.patch.object(ttnn, "copy_host_to_device_tensor", noting_copy),
        mock.patch.object(ttnn, "Tensor", noting_make),
    ):
        yield copies
