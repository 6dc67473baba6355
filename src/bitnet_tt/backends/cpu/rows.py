"""Divide the tokens of a row into those whose logits are computed one by one, and those that are screened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.masks import contains, ids_of, mask_of, mask_words, size_of

LISTED_SHARE = 8
"""The logits of at most one token in this many are computed one by one. Of one in four, a search takes as long, and it
leaves most of the table in its file."""

_SMALLEST_SCALE = 1e-30
"""Smaller temperatures are taken as this in float32, where they might be 0: both add less than a logit's last bit."""

_NONE = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How the candidates of one row are found.

    Attributes:
        listed: Tokens whose logits are computed one by one, rising, int32 [n].
        screened: The limits for the other tokens. None if no other token can pass.
        mask: The tokens that the limits are for; it has no listed token. None means all.
    """

    listed: NDArray[np.int32]
    screened: LogitFilter | None
    mask: NDArray[np.uint32] | None = None

    @property
    def needs_whole_row(self) -> bool:
        """Whether the screen cannot find the candidates."""
        limit = self.screened
        if limit is None or limit.noise is not None:
            return False
        return limit.count is None or limit.count > _native.MAX_CANDIDATES


def plan_row(limit: LogitFilter, vocab_size: int, *, screens: bool) -> RowPlan:
    """Return how to find the candidates of a row with this filter.

    Args:
        limit: The filter.
        vocab_size: Tokens of the vocabulary.
        screens: Whether the lm_head has a screen. If not, whole rows are computed, except of few tokens.

    Raises:
        ValueError: The mask has a wrong number of words.
    """
    allowed, always = limit.allowed() if limit.allowed else None, limit.always
    if allowed is not None:
        if allowed.shape != (mask_words(vocab_size),):
            raise ValueError(
                f"the mask is {allowed.shape}; a vocabulary of {vocab_size} takes {mask_words(vocab_size)}"
            )
        if size_of(allowed) * LISTED_SHARE <= vocab_size:
            return RowPlan(ids_of(allowed, vocab_size).astype(np.int32), None)
    if always is None or not screens:
        return RowPlan(_NONE, limit, allowed)
    if len(always) * LISTED_SHARE > vocab_size:
        return RowPlan(_NONE, LogitFilter())
    listed = mask_of(always, vocab_size)
    others = ~listed if allowed is None else allowed & ~listed
    if allowed is not None:
        always = always[contains(allowed, always)]
    return RowPlan(always.astype(np.int32), limit, others)


def filter_arrays(
    plans: Sequence[RowPlan], vocab_size: int
) -> tuple[NDArray[np.int32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32]]:
    """Return counts, noises, noise scales and masks as `_native.Decoder.candidates` takes them."""
    words = mask_words(vocab_size)
    nothing = RowPlan(_NONE, LogitFilter(count=1), np.zeros(words, np.uint32))
    plans = [nothing if plan.screened is None else plan for plan in plans]
    filters = [plan.screened for plan in plans if plan.screened is not None]
    counts = np.array([1 if limit.noise else limit.count for limit in filters], np.int32)
    noises = np.zeros((len(filters), 4), np.uint32)
    scales = np.zeros(len(filters), np.float32)
    for row, limit in enumerate(filters):
        if limit.noise is not None:
            seed_high, seed_low = divmod(limit.noise.seed, 1 << 32)
            noises[row] = seed_low, seed_high, limit.noise.position, limit.noise.choice
            scales[row] = max(limit.noise.temperature, _SMALLEST_SCALE)
    if all(plan.mask is None for plan in plans):
        return counts, noises, scales, np.empty((0, 0), np.uint32)
    masks = np.full((len(filters), words), 0xFFFFFFFF, np.uint32)
    for row, plan in enumerate(plans):
        if plan.mask is not None:
            masks[row] = plan.mask
    return counts, noises, scales, masks
