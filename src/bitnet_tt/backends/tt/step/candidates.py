"""Turn the largest logits of each vocabulary part, which the device finds, into the candidates of a row, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter

NO_TOKEN = 0xFFFFFFFF
"""The token id of an entry that the device left empty."""


def read_candidates(
    entries: NDArray[np.uint32],
    filters: Sequence[LogitFilter],
    sizes: NDArray[np.intp],
    whole_row: Callable[[int], NDArray[np.float32]],
) -> list[Candidates]:
    """Return the candidates of each row, from the largest logits of each vocabulary part.

    Args:
        entries: uint32 [parts, rows, count, 2], on the host: the pairs (bits of a logit, token id) of `ops.lm_head`.
        filters: One for each row. No filter asks for more logits than `count`, or for whole rows.
        sizes: Number of tokens of each vocabulary part.
        whole_row: Brings the whole row of an index to the host, float32 [vocab].
    """
    return [_candidates(entries[:, row], sizes, limit, partial(whole_row, row)) for row, limit in enumerate(filters)]


def best_candidates(pairs: NDArray[np.uint32]) -> list[Candidates]:
    """Return the one candidate of each row, from pairs (bits of a logit, token id), uint32 [rows, 2]."""
    logits, token_ids = np.ascontiguousarray(pairs[:, :1]).view(np.float32), pairs[:, 1:].astype(np.int64)
    return [Candidates(logit, token_id) for logit, token_id in zip(logits, token_ids, strict=True)]


def _candidates(
    entries: NDArray[np.uint32],
    sizes: NDArray[np.intp],
    limit: LogitFilter,
    whole_row: Callable[[], NDArray[np.float32]],
) -> Candidates:
    """Return the candidates of one row, from entries [parts, count, 2] of parts of these sizes in tokens."""
    token_ids, present = entries[..., 1], entries[..., 1] != NO_TOKEN
    logits = np.where(present, np.ascontiguousarray(entries[..., 0]).view(np.float32), np.float32(-np.inf))
    order = np.argsort(token_ids[present])
    missing = None if limit.noise is None else _Missing(np.repeat(logits[:, -1], sizes), whole_row)
    return Candidates(logits[present][order], token_ids[present][order].astype(np.int64), missing)


class _Missing:
    """The logits that the device did not find, see `MissingLogits`.

    Args:
        bounds: float32 [vocab]: for each token, the smallest logit that the device found in its part; the missing
            logits of the part are not larger.
        whole_row: Brings the whole row to the host.
    """

    has_winner = False

    def __init__(self, bounds: NDArray[np.float32], whole_row: Callable[[], NDArray[np.float32]]) -> None:
        self._bounds = bounds
        self._whole_row = whole_row

    def upper_bounds(self) -> NDArray[np.float32]:
        """Return the bounds of the parts."""
        return self._bounds

    def compute(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Take logits from the whole row."""
        return self._whole_row()[token_ids]
