"""From logits to a token: pure functions of logits, settings, history and a random stream.

Probabilities are integers made by IEEE operations that are the same on every machine, so that equal logits and seeds
give equal tokens everywhere: NumPy's exp and sum may differ in the last bit from one processor to another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig

_ONE = 1 << 44
"""The weight of the most probable token; 2**18 such tokens still sum to less than 2**63."""
_EXP_COEFFICIENTS = [1 / math.factorial(n) for n in range(12, -1, -1)]
"""Taylor series, highest power first; its error for |x| <= ln(2) / 2 is under 2e-16."""
_NUCLEUS_GUESS = 1024
_NUCLEUS_MARGIN = 16.0
"""Tokens exp(-16) as probable as the best are not looked at to find a nucleus, unless it takes them to be sure."""
_COLD = 1e-3
"""At temperatures below it a row is looked at as a whole."""
_ROUNDED_UP = 1 << 18
"""More than rounding adds to the weights of all tokens together."""
_MARGIN_SLACK = 0.01
"""More than float32 rounding adds to the distance of a logit that min-p keeps."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's natural log-probability under the model, before temperature and cuts.

    Attributes:
        token_id: The token.
        logprob: Its log-probability.
        top: The most probable tokens and their log-probabilities, best first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class RandomStream:
    """A request's own random numbers: Philox by its seed, the same on every machine."""

    def __init__(self, seed: int | None) -> None:
        self._bits = np.random.Philox(key=seed) if seed is not None else np.random.Philox()

    def below(self, total: int) -> int:
        """An integer from 0 to total - 1; total is at most 2**63."""
        return (int(self._bits.random_raw()) * total) >> 64


def logit_filter(config: GenerationConfig) -> LogitFilter:
    """The logits that can change what `sample` and `log_probabilities` return under these settings."""
    if config.repetition_penalty != 1.0 or config.logprobs is not None:
        return LogitFilter()
    if config.temperature == 0:
        return LogitFilter(count=1)
    if config.top_k == 0 and config.top_p < 1:
        # Top-p compares with the sum over all tokens; a bound of what the improbable ones add to it does, see `sample`.
        if config.temperature < _COLD:
            return LogitFilter()
        return LogitFilter(margin=_NUCLEUS_MARGIN * config.temperature, mass_temperature=config.temperature)
    if config.top_p < 1:
        return LogitFilter(count=config.top_k)  # top-p compares with the sum over all of them
    least = config.min_p - 1.5 / _ONE  # weights are rounded, and so is the least of them
    margin = -config.temperature * math.log(least) + _MARGIN_SLACK if least > 0 else math.inf
    return LogitFilter(count=config.top_k or None, margin=margin)


def sample(row: Candidates, config: GenerationConfig, history: Sequence[int], stream: RandomStream) -> int:
    """Pick the next token.

    Repetition penalty comes first, then temperature, top-k, top-p and min-p, as in Hugging Face transformers.

    Args:
        row: The logits that `cut` lets pass, or more of them; which ones changes nothing.
        config: The request's settings.
        history: The text so far, for the repetition penalty.
        stream: The request's random numbers; greedy picks draw none.

    Returns:
        A token id. Of equal logits, the lowest id wins or comes first.
    """
    logits, token_ids, dropped_mass = row.logits, row.token_ids, row.dropped_mass
    if config.repetition_penalty != 1.0:
        logits = penalize_repetition(logits, config.repetition_penalty, history)
    if config.temperature == 0:
        index = int(np.argmax(logits))
    else:
        choice = kept_tokens(logits, config, dropped_mass)
        if choice is None:
            assert row.whole_row is not None
            token_ids, choice = None, kept_tokens(row.whole_row(), config)
        assert choice is not None
        kept, weights = choice
        cumulative = np.cumsum(weights)
        index = int(kept[np.searchsorted(cumulative, stream.below(int(cumulative[-1])), side="right")])
    return index if token_ids is None else int(token_ids[index])


def penalize_repetition(logits: NDArray[np.float32], penalty: float, history: Sequence[int]) -> NDArray[np.float32]:
    """Divide positive logits of seen tokens by the penalty, multiply negative ones (arXiv 1909.05858)."""
    seen = np.unique(np.asarray(history, dtype=np.int64))
    penalized = logits.copy()
    values = logits[seen]
    penalized[seen] = np.where(values > 0, values / np.float32(penalty), values * np.float32(penalty))
    return penalized


def kept_tokens(
    logits: NDArray[np.float32], config: GenerationConfig, dropped_mass: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """What temperature, top-k, top-p and min-p leave, and its weights.

    Args:
        logits: float32 [n], the greatest among them.
        config: The request's settings.
        dropped_mass: See `Candidates.dropped_mass`.

    Returns:
        Indices into `logits` and integer weights, int64 [kept] each, by falling weight when top-k or top-p cut. None if
        that depends on logits that are not here.
    """
    indices = np.arange(len(logits)) if config.top_k == 0 else most_probable(logits, config.top_k)
    weights = _weights(logits[indices], config.temperature)
    if config.top_p < 1:
        kept = _nucleus(weights, config.top_p, dropped_mass)
        if kept is None:
            return None
        indices, weights = indices[kept], weights[kept]
    if config.min_p > 0:
        probable = weights >= int(config.min_p * int(weights.max()))
        indices, weights = indices[probable], weights[probable]
    return indices, weights


def most_probable(values: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Indices of the `count` greatest values, falling; of equal values the lowest index comes first."""
    if count < len(values):
        threshold = np.partition(values, len(values) - count)[len(values) - count]
        indices = np.flatnonzero(values >= threshold)
    else:
        indices = np.arange(len(values))
    return indices[np.argsort(-values[indices], kind="stable")][:count]


def log_probabilities(logits: NDArray[np.float32], token_id: int, top: int) -> TokenLogprob:
    """Log-probability of a token and of the `top` most probable ones."""
    best = most_probable(logits, top) if top else np.empty(0, np.int64)
    wide = logits.astype(np.float64)
    peak = wide.max()
    normalizer = peak + np.log(np.exp(wide - peak).sum())
    return TokenLogprob(
        token_id=token_id,
        logprob=float(wide[token_id] - normalizer),
        top=tuple((int(index), float(wide[index] - normalizer)) for index in best),
    )


def _nucleus(weights: NDArray[np.int64], top_p: float, dropped_mass: float) -> NDArray[np.int64] | None:
    """Indices of the greatest weights that reach the share top_p of all, the one that crosses it included.

    `dropped_mass` is what weights that are not here may add to the sum, in units of the greatest. None if that matters.
    """
    if dropped_mass > 1:
        return None
    total = int(weights.sum())
    unknown = math.ceil(dropped_mass * _ONE * 1.001) + _ROUNDED_UP if dropped_mass > 0 else 0
    low, high = top_p * total, top_p * (total + unknown)
    for count in (_NUCLEUS_GUESS, len(weights)):
        order = most_probable(weights, count)
        cumulative = np.cumsum(weights[order])
        if cumulative[-1] >= high:
            break
    first, last = np.searchsorted(cumulative, (low, high), side="left")
    if unknown and (first != last or last == len(order) or weights[order[last]] == weights.min()):
        return None
    return order[: int(first) + 1]


def _weights(logits: NDArray[np.float32], temperature: float) -> NDArray[np.int64]:
    """exp((logits - max) / temperature) in units of 1 / _ONE, by operations that round the same everywhere."""
    with np.errstate(over="ignore"):  # a tiny temperature takes all but the greatest to -inf
        x = np.maximum((logits.astype(np.float64) - float(logits.max())) / temperature, -64.0)
    exponent = np.rint(x * 1.4426950408889634)
    remainder = (x - exponent * 0.693147180369123816490) - exponent * 1.90821492927058770002e-10
    result = np.full_like(remainder, _EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        result = result * remainder + coefficient
    weights: NDArray[np.int64] = np.rint(np.ldexp(result, exponent.astype(np.int32)) * _ONE).astype(np.int64)
    return weights
