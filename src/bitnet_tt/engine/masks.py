"""Masks: which tokens the constraints of a step allow, computed on a thread beside the step of the backend."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import RequestError
from bitnet_tt.sampling import Constraint


class StepMask:
    """The mask of one request in one step; a `LateMask`. It waits for the thread that computes it.

    Args:
        constraint: The request's constraint. Nobody else may call it until the mask is there.
    """

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint
        self._mask: NDArray[np.uint32] | None = None
        self._error: Exception | None = None
        self.job: Future[None] | None = None

    def __call__(self) -> NDArray[np.uint32] | None:
        """Return the mask. None if the constraint failed: the backend goes on, for the sake of the other requests."""
        if self.job is not None:
            self.job.result()
        return self._mask

    def result(self) -> NDArray[np.uint32] | None:
        """Return the mask.

        Raises:
            RequestError: The constraint allows no token. Errors of the constraint itself are raised as they are.
        """
        mask = self()
        if self._error is not None:
            raise self._error
        return mask

    def compute(self) -> None:
        """Ask the constraint. An error is kept for `result`."""
        try:
            mask = self._constraint.mask()
            if not mask.any():
                raise RequestError("the constraint allows no token; it must allow at least an end-of-text token")
            self._mask = mask
        except Exception as error:
            self._error = error


class MaskWorker:
    """Computes the masks of a step while the thread that steps runs the backend. The worker thread starts when needed.

    It ends when nobody holds this object any more.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bitnet-tt masks")

    def start(self, masks: Sequence[StepMask]) -> None:
        """Begin to compute the masks of a step."""
        if len(masks) == 1:  # to wake a thread takes longer than to compute a mask
            masks[0].compute()
        elif masks:
            job = self._pool.submit(_compute, masks)
            for mask in masks:
                mask.job = job


def _compute(masks: Sequence[StepMask]) -> None:
    for mask in masks:
        mask.compute()
