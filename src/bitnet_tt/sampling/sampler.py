"""Pick the next token: a pure function of logits, settings, the text so far and its random numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates
from bitnet_tt.backends.masks import contains, ids_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.adjust import adjust, adjusted_tokens, adjusts
from bitnet_tt.sampling.filters import kept_tokens
from bitnet_tt.sampling.random import RandomNumbers
from bitnet_tt.sampling.text import Text


def sample(
    row: Candidates,
    config: GenerationConfig,
    text: Text,
    numbers: RandomNumbers,
    allowed: NDArray[np.uint32] | None = None,
) -> int:
    """Pick the next token.

    Tokens that are not allowed are left out first. Then come logit_bias and the penalties, then temperature, top-k,
    top-p and min-p: see docs/numerics.md.

    Args:
        row: The logits that `logit_filter` passes for the same arguments. It may hold more, which changes no result.
        config: The settings of the request.
        text: The text so far.
        numbers: The random numbers of the text. A greedy pick uses none, any other pick uses that of its position.
        allowed: The tokens that may be picked, a mask as in `backends.masks`; None allows all.

    Returns:
        A token id. Of equal logits, the lowest id comes first.
    """
    changed = _changed(row, config, text, allowed)
    if config.temperature == 0:
        return _token(changed, int(np.argmax(changed.logits)))
    kept = kept_tokens(changed.logits, config, changed.dropped_mass)
    if kept is None:  # the dropped tokens could change the nucleus
        assert row.whole_row is not None
        changed = _changed(Candidates(row.whole_row()), config, text, allowed)
        kept = kept_tokens(changed.logits, config)
    assert kept is not None
    indices, weights = kept
    # Token i owns the integers from cumulative[i - 1] to cumulative[i] - 1: as many as its weight.
    cumulative = np.cumsum(weights)
    drawn = numbers.below(int(cumulative[-1]), text.position)
    return _token(changed, int(indices[np.searchsorted(cumulative, drawn, side="right")]))


def _changed(row: Candidates, config: GenerationConfig, text: Text, allowed: NDArray[np.uint32] | None) -> Candidates:
    """Return the candidates that are allowed, with logit_bias and penalties applied."""
    if allowed is not None:
        row = _only_allowed(row, allowed)
    if not adjusts(config):
        return row
    logits = adjust(row.logits, row.token_ids, config, text)
    if row.dropped_mass == 0:
        return Candidates(logits, row.token_ids)
    return _drop_again(replace(row, logits=logits), adjusted_tokens(config, text), config.temperature)


def _only_allowed(row: Candidates, allowed: NDArray[np.uint32]) -> Candidates:
    if row.token_ids is None:
        token_ids = ids_of(allowed, len(row.logits))
        return replace(row, logits=row.logits[token_ids], token_ids=token_ids)
    inside = contains(allowed, row.token_ids)
    return replace(row, logits=row.logits[inside], token_ids=row.token_ids[inside])


def _drop_again(row: Candidates, adjusted: NDArray[np.int64], temperature: float) -> Candidates:
    """Restore what `Candidates` promises for a dropped mass: no missing logit is larger than one that is here.

    The smallest logits that the backend returned limit the missing ones. A token whose logit was adjusted to less than
    that is dropped too, and its mass is added to the others.
    """
    assert row.token_ids is not None
    others = row.logits[~np.isin(row.token_ids, adjusted)]
    if (
        not len(others) or others.max() == -np.inf
    ):  # no token is missing, or none of them can be picked: some are forced
        return replace(row, dropped_mass=0.0)
    inside = row.logits >= others.min()
    dropped = np.exp((row.logits[~inside].astype(np.float64) - float(row.logits.max())) / temperature).sum()
    return replace(
        row,
        logits=row.logits[inside],
        token_ids=row.token_ids[inside],
        dropped_mass=row.dropped_mass + float(dropped),
    )


def _token(row: Candidates, index: int) -> int:
    return index if row.token_ids is None else int(row.token_ids[index])
