"""Pick the next token: a pure function of logits, settings, the text so far and its random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_tt.backends.base import Candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.adjust import adjust, adjusts
from bitnet_tt.sampling.filters import kept_tokens
from bitnet_tt.sampling.random import RandomNumbers


def sample(
    row: Candidates, config: GenerationConfig, tokens: Sequence[int], prompt_length: int, numbers: RandomNumbers
) -> int:
    """Pick the next token.

    logit_bias and the penalties come first, then temperature, top-k, top-p and min-p: see docs/numerics.md.

    Args:
        row: The logits that `logit_filter(config)` passes. It may hold more logits, which does not change the result.
        config: The settings of the request.
        tokens: The text so far, prompt included.
        prompt_length: How many of `tokens` are the prompt.
        numbers: The random numbers of the text. A greedy pick uses none, any other pick uses that of its position.

    Returns:
        A token id. Of equal logits, the lowest id comes first.
    """
    logits, token_ids = row.logits, row.token_ids
    if adjusts(config):
        logits = adjust(logits, token_ids, config, tokens, prompt_length)
    if config.temperature == 0:
        index = int(np.argmax(logits))
    else:
        kept = kept_tokens(logits, config, row.dropped_mass)
        if kept is None:  # the dropped tokens could change the nucleus
            assert row.whole_row is not None
            token_ids, kept = None, kept_tokens(row.whole_row(), config)
        assert kept is not None
        indices, weights = kept
        # Token i owns the integers from cumulative[i - 1] to cumulative[i] - 1: as many as its weight.
        cumulative = np.cumsum(weights)
        drawn = numbers.below(int(cumulative[-1]), len(tokens))
        index = int(indices[np.searchsorted(cumulative, drawn, side="right")])
    return index if token_ids is None else int(token_ids[index])
