"""Turn the largest logits of each vocabulary part, which the device finds, into the candidates of a row, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import Plan

NO_TOKEN = 0xFFFFFFFF
"""The token id of an entry that the device left empty."""

_ROUNDING_SLACK = 1.0 + 1e-9
"""More than float64 rounding can take off a sum: a sum times this is an upper bound."""


def read_candidates(
    entries: NDArray[np.uint32],
    filters: Sequence[LogitFilter],
    plan: Plan,
    whole_row: Callable[[int], NDArray[np.float32]],
) -> list[Candidates]:
    """Return the candidates of each row, from the largest logits of each vocabulary part.

    Args:
        entries: uint32 [parts, rows, count, 2], on the host: the pairs (bits of a logit, token id) of `ops.lm_head`.
        filters: One for each row. No filter asks for more logits than `count`.
        plan: The vocabulary parts.
        whole_row: Brings the whole row of an index to the host, float32 [vocab].
    """
    parts, tiles = plan.vocabulary_parts
    ends = np.minimum(np.arange(1, parts + 1) * tiles * TILE, plan.config.vocab_size)
    missing = np.maximum(np.diff(ends, prepend=0) - entries.shape[2], 0)
    return [_candidates(entries[:, row], missing, limit, partial(whole_row, row)) for row, limit in enumerate(filters)]


def best_candidates(pairs: NDArray[np.uint32]) -> list[Candidates]:
    """Return the one candidate of each row, from pairs (bits of a logit, token id), uint32 [rows, 2]."""
    logits, token_ids = np.ascontiguousarray(pairs[:, :1]).view(np.float32), pairs[:, 1:].astype(np.int64)
    return [Candidates(logit, token_id) for logit, token_id in zip(logits, token_ids, strict=True)]


def _candidates(
    entries: NDArray[np.uint32],
    missing: NDArray[np.intp],
    limit: LogitFilter,
    whole_row: Callable[[], NDArray[np.float32]],
) -> Candidates:
    """Return the candidates of one row, from entries [parts, count, 2].

    The device did not find `missing[part]` logits of each part. None of them is larger than the smallest logit that it
    found there, which is the part's last entry.
    """
    token_ids, present = entries[..., 1], entries[..., 1] != NO_TOKEN
    logits = np.where(present, np.ascontiguousarray(entries[..., 0]).view(np.float32), np.float32(-np.inf))
    largest, dropped_mass = logits.max(), 0.0
    missing_bound = logits[missing > 0, -1].max(initial=-np.inf)  # no missing logit is larger than this
    if limit.mass_temperature > 0:
        # Drop what is smaller than a missing logit may be: then no missing logit is larger than one that is here.
        masses = np.exp((logits.astype(np.float64) - largest) / limit.mass_temperature)
        present &= logits >= missing_bound
        dropped_mass = float((masses[~present].sum() + masses[:, -1] @ missing) * _ROUNDING_SLACK)
    elif limit.count is None and missing_bound >= largest - limit.margin:
        return Candidates(whole_row())  # a missing logit may pass the filter
    order = np.argsort(token_ids[present])
    return Candidates(
        logits[present][order],
        token_ids[present][order].astype(np.int64),
        dropped_mass,
        whole_row if dropped_mass else None,
    )
