"""Find the tokens that the settings of a request allow, and the logits that the sampler needs to find them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import LateMask, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.adjust import adjusted_tokens, adjusts
from bitnet_tt.sampling.random import RandomNumbers
from bitnet_tt.sampling.softmax import ONE, softmax_weights
from bitnet_tt.sampling.text import Text

_LIKELY_TOKENS = 8
"""Top-p and min-p ask for this many of the largest logits: on a peaked row, they keep no others."""

_LARGEST_TEMPERATURE = 1e30
"""Above this temperature whole rows are computed: a backend's float32 sums might overflow."""

_NUCLEUS_GUESS = 1024
"""Top-p first sorts only this many tokens: they nearly always contain the nucleus, and sorting 128k tokens is slow."""


def logit_filter(
    config: GenerationConfig, text: Text, numbers: RandomNumbers, allowed: LateMask | None = None
) -> LogitFilter:
    """Return a filter that passes every logit which can change what `sample` or `log_probabilities` return.

    Args:
        config: The settings of the request.
        text: The text so far.
        numbers: The random numbers of the text.
        allowed: The tokens that may be picked; see `LogitFilter.allowed`.
    """
    if config.logprobs is not None:  # they are those of the whole row, allowed or not
        return LogitFilter()
    count, noise = _count(config), None
    if 0 < config.temperature <= _LARGEST_TEMPERATURE and config.top_k == 0:
        noise = numbers.noise(text.position, config.temperature)
    # A token whose logit changes may move into the top-k or out of it, so it must be there in any case. The logits of
    # all others are compared with each other as they are.
    always = adjusted_tokens(config, text) if adjusts(config) and (count or noise) else None
    return LogitFilter(count, noise, allowed, always)


def _count(config: GenerationConfig) -> int | None:
    if config.temperature == 0:
        return 1
    if config.top_k > 0:
        return config.top_k
    if config.temperature <= _LARGEST_TEMPERATURE and has_cut(config):
        return _LIKELY_TOKENS
    return None


def has_cut(config: GenerationConfig) -> bool:
    """Return whether top-p or min-p drops tokens."""
    return config.top_p < 1 or config.min_p > 0


def kept_tokens(logits: NDArray[np.float32], config: GenerationConfig) -> NDArray[np.int64]:
    """Return the tokens that temperature, top-k, top-p and min-p keep.

    Args:
        logits: float32 [n]: the `top_k` largest logits of the row, or all of them.
        config: The settings of the request; the temperature is above 0.

    Returns:
        Indices into `logits`, rising, int64 [kept].
    """
    indices = np.arange(len(logits)) if config.top_k == 0 else most_probable(logits, config.top_k)
    if has_cut(config):
        weights = softmax_weights(logits[indices], config.temperature)
        kept = _nucleus(weights, config.top_p) if config.top_p < 1 else np.arange(len(indices))
        indices = indices[kept[weights[kept] >= smallest_weight(config)]]
    return np.sort(indices)


def smallest_weight(config: GenerationConfig) -> int:
    """Return the smallest weight that min-p keeps."""
    return int(config.min_p * ONE)


def most_probable(values: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Return the indices of the `count` largest values, largest first; of equal values the lowest index comes first."""
    if count < len(values):
        threshold = np.partition(values, len(values) - count)[len(values) - count]
        indices = np.flatnonzero(values >= threshold)
    else:
        indices = np.arange(len(values))
    return indices[np.argsort(-values[indices], kind="stable")][:count]


def _nucleus(weights: NDArray[np.int64], top_p: float) -> NDArray[np.int64]:
    """Return the indices of the nucleus: the largest weights whose sum reaches the share `top_p` of all weights."""
    least = top_p * float(weights.sum())
    for count in (_NUCLEUS_GUESS, len(weights)):
        order = most_probable(weights, count)
        cumulative = np.cumsum(weights[order])
        if cumulative[-1] >= least:
            break
    return order[: int(np.searchsorted(cumulative, least)) + 1]
