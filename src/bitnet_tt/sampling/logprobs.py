"""Log-probabilities of tokens, for reports. They do not take part in picking a token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.sampling.filters import most_probable


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The natural log-probability of a token under the model, before logit_bias, penalties, temperature and filters.

    Attributes:
        token_id: The token.
        logprob: Its log-probability.
        top: The most probable tokens and their log-probabilities, most probable first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def log_probabilities(logits: NDArray[np.float32], token_id: int, top: int) -> TokenLogprob:
    """Return the log-probability of a token, and those of the `top` most probable tokens.

    Args:
        logits: The whole row, float32 [vocab].
        token_id: The token that was picked.
        top: How many of the most probable tokens to report; may be 0.
    """
    best = most_probable(logits, top) if top else np.empty(0, np.int64)
    wide = logits.astype(np.float64)
    largest = wide.max()
    normalizer = largest + np.log(np.exp(wide - largest).sum())
    return TokenLogprob(
        token_id=token_id,
        logprob=float(wide[token_id] - normalizer),
        top=tuple((int(index), float(wide[index] - normalizer)) for index in best),
    )
