"""Pick the next token: a pure function of logits, settings, the text so far and a random stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_tt.backends.base import Candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.filters import kept_tokens, penalize_repetition
from bitnet_tt.sampling.random import RandomStream


def sample(row: Candidates, config: GenerationConfig, history: Sequence[int], stream: RandomStream) -> int:
    """Pick the next token.

    Repetition penalty comes first, then temperature, top-k, top-p and min-p, as in Hugging Face transformers.

    Args:
        row: The logits that `logit_filter(config)` passes. It may hold more logits, which does not change the result.
        config: The settings of the request.
        history: Token ids of the text so far, for the repetition penalty.
        stream: The random numbers of the request. A greedy pick draws none, any other pick draws one.

    Returns:
        A token id. Of equal logits, the lowest id comes first.
    """
    logits, token_ids = row.logits, row.token_ids
    if config.repetition_penalty != 1.0:
        logits = penalize_repetition(logits, config.repetition_penalty, history)
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
        drawn = stream.below(int(cumulative[-1]))
        index = int(indices[np.searchsorted(cumulative, drawn, side="right")])
    return index if token_ids is None else int(token_ids[index])
