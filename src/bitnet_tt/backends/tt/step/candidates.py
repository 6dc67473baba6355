"""What the greatest logits of each part of the vocabulary, which the device finds, tell of a row. In NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.backends.tt.planning.plan import TILE, Plan

_NO_TOKEN = 0xFFFFFFFF
_ROUNDED_UP = 1.0 + 1e-9  # more than float64 rounding takes off a sum


def read_top(
    entries: NDArray[np.uint32], filters: Sequence[LogitFilter], plan: Plan, whole: Callable[[int], NDArray[np.float32]]
) -> list[Candidates]:
    """Put the parts of `top_logits`, on the host, together.

    Args:
        entries: Of its first rows, [parts, rows, count, 2].
        filters: Of these rows; the largest count they ask for is at most `count`.
        plan: What the parts are.
        whole: Brings a whole row to the host.
    """
    parts, tiles = plan.vocabulary_parts
    ends = np.minimum(np.arange(1, parts + 1) * tiles * TILE, plan.config.vocab_size)
    missing = np.maximum(np.diff(ends, prepend=0) - entries.shape[2], 0)
    return [_candidates(entries[:, row], missing, limit, partial(whole, row)) for row, limit in enumerate(filters)]


def _candidates(
    entries: NDArray[np.uint32], missing: NDArray[np.intp], limit: LogitFilter, whole: Callable[[], NDArray[np.float32]]
) -> Candidates:
    """A row's, from [parts, count, 2]; so many of each part were not found, all at most as great as its least found."""
    token_ids, here = entries[..., 1], entries[..., 1] != _NO_TOKEN
    logits = np.where(here, np.ascontiguousarray(entries[..., 0]).view(np.float32), np.float32(-np.inf))
    best, bound, rest = logits.max(), logits[missing > 0, -1].max(initial=-np.inf), 0.0
    if limit.mass_temperature > 0:
        shares = np.exp((logits.astype(np.float64) - best) / limit.mass_temperature)
        here &= logits >= bound
        rest = float((shares[~here].sum() + shares[:, -1] @ missing) * _ROUNDED_UP)
    elif limit.count is None and bound >= best - limit.margin:
        return Candidates(whole())
    order = np.argsort(token_ids[here])
    return Candidates(logits[here][order], token_ids[here][order].astype(np.int64), rest, whole if rest else None)
