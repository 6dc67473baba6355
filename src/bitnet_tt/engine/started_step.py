"""Steps that run ahead: the backend computes the next step while the host still reads the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitnet_tt.backends.base import LogitFilter, StepResult
from bitnet_tt.engine.batch import Chunk


@dataclass(slots=True)
class StartedStep:
    """A step that the backend has started, and nobody has read.

    Attributes:
        step: Its chunks, of one token each.
        decoding: How many of them, the first ones, were running streams.
        result: Waits for its candidates, one row for each chunk.
        started_at: When it began, or when the step before it was read, in seconds of `time.perf_counter`.
    """

    step: list[Chunk]
    decoding: int
    result: StepResult
    started_at: float


def can_start(step: Sequence[Chunk], filters: Sequence[LogitFilter]) -> bool:
    """Return whether a step may be started without waiting for it: the next one needs only its most probable tokens.

    Args:
        step: Its chunks.
        filters: The filter of each of its rows.
    """
    return (
        len(step) == len(filters)
        and all(limit.passes_best for limit in filters)
        and all(chunk.length == 1 and chunk.request.speculation is None for chunk in step)
    )
