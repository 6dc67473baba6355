"""Pick the next token: a pure function of logits, settings, the text so far and its random numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates
from bitnet_tt.backends.masks import contains, ids_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.adjust import adjust, adjusts, forces
from bitnet_tt.sampling.filters import kept_tokens
from bitnet_tt.sampling.random import RandomNumbers, winner
from bitnet_tt.sampling.search import Search
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
        numbers: The random numbers of the text. A greedy pick uses none, any other pick uses those of its position.
        allowed: The tokens that may be picked, a mask as in `backends.masks`; None allows all.

    Returns:
        A token id. Of equal logits, the lowest id comes first.
    """
    if allowed is not None:
        row = _only_allowed(row, allowed)
    token_ids = np.arange(len(row.logits)) if row.token_ids is None else row.token_ids
    logits = adjust(row.logits, row.token_ids, config, text) if adjusts(config) else row.logits
    if config.temperature == 0:
        return int(token_ids[np.argmax(logits)])
    noise = numbers.noise(text.position, config.temperature)
    # If some tokens are forced, all missing ones are banned.
    if row.missing is not None and not forces(config, token_ids):
        return Search(logits, token_ids, row.missing, config, noise, allowed).pick()
    kept = kept_tokens(logits, config)
    return int(token_ids[kept[winner(logits[kept], token_ids[kept], noise)]])


def _only_allowed(row: Candidates, allowed: NDArray[np.uint32]) -> Candidates:
    if row.token_ids is None:
        token_ids = ids_of(allowed, len(row.logits))
        return replace(row, logits=row.logits[token_ids], token_ids=token_ids)
    inside = contains(allowed, row.token_ids)
    return replace(row, logits=row.logits[inside], token_ids=row.token_ids[inside])
