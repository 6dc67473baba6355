"""LoadingWeights: the weights of a checkpoint, while those that stay in their file are still checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.checkpoint.check import THREADS, check_counts, check_finite, check_packed, require_finite
from bitnet_tt.formats.tensor import Progress, StoredTensor
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import ModelWeights

_THREADS = max(1, THREADS - 1)
"""Threads of the checks: one core is left for what Python does meanwhile."""

_REPORT_SECONDS = 0.05


@dataclass(slots=True)
class WeightChecks:
    """Checks weights while they are assembled: those in memory at once, those of a mapped file together at the end.

    Attributes:
        progress: Called with the bytes done and the bytes in all.
        total: The bytes in all.
    """

    progress: Progress | None
    total: int
    _done: int = 0
    _packed: list[tuple[StoredTensor, NDArray[np.uint8]]] = field(default_factory=list)
    _tables: list[tuple[StoredTensor, NDArray[np.uint16]]] = field(default_factory=list)
    _running: _native.BackgroundChecks | None = None

    def packed(self, tensor: StoredTensor, packed: NDArray[np.uint8]) -> None:
        """Check ternary codes, see `check_packed`."""
        if region_of(packed) is not None:
            self._packed.append((tensor, packed))
            return
        check_packed(tensor, packed)
        self.advance(tensor)

    def table(self, tensor: StoredTensor, bits: NDArray[np.uint16]) -> None:
        """Check an embedding or lm_head in bfloat16, see `check_finite`."""
        if region_of(bits) is not None:
            self._tables.append((tensor, bits))
            return
        check_finite(tensor, bits)
        tensor.release()
        self.advance(tensor)

    def advance(self, tensor: StoredTensor) -> None:
        """Note that a tensor is done."""
        self._done += tensor.size
        self._report(0)

    def start(self) -> None:
        """Start the checks of what is in mapped files. They run on threads of their own, without Python's lock."""
        self._running = _native.BackgroundChecks(
            [packed.reshape(-1) for _, packed in self._packed],
            [bits.reshape(-1).view(np.uint8) for _, bits in self._tables],
            _THREADS,
        )

    def finish(self) -> None:
        """Wait for the checks that were started.

        Raises:
            CheckpointError: A tensor is damaged; the message names it.
        """
        assert self._running is not None
        while not self._running.wait(_REPORT_SECONDS):
            self._report(self._running.done_bytes)
        counts, finite = self._running.results()
        self._report(self._running.done_bytes)
        for (tensor, _), of_codes in zip(self._packed, counts, strict=True):
            check_counts(tensor, of_codes)
        for (tensor, _), is_finite in zip(self._tables, finite, strict=True):
            require_finite(tensor, is_finite)
            tensor.release()  # backends read single rows when they need them

    def stop(self) -> None:
        """End the checks, and wait for their threads."""
        self._running = None

    def _report(self, in_background: int) -> None:
        if self.progress is not None:
            self.progress(self._done + in_background, self.total)


class LoadingWeights:
    """Assembled weights, of which those in mapped files are still checked. The end of `with` stops the checks."""

    def __init__(self, weights: ModelWeights, checks: WeightChecks) -> None:
        self._weights = weights
        self._checks = checks

    def __enter__(self) -> Self:
        """Start the checks."""
        self._checks.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None) -> None:
        """End them, even if they are not finished."""
        self._checks.stop()

    def result(self) -> ModelWeights:
        """Wait for the checks, and return the weights.

        Raises:
            CheckpointError: A tensor is damaged; the message names it.
        """
        self._checks.finish()
        return self._weights
