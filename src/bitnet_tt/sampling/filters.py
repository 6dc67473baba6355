"""Find the tokens that the settings of a request allow, and the logits that the sampler needs to find them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import LateMask, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.adjust import adjusted_tokens, adjusts
from bitnet_tt.sampling.softmax import ONE, softmax_weights
from bitnet_tt.sampling.text import Text

_NUCLEUS_GUESS = 1024
"""Top-p first sorts only this many tokens: they nearly always contain the nucleus, and sorting 128k tokens is slow."""

_NUCLEUS_MARGIN = 16.0
"""Top-p asks the device only for tokens at least exp(-16), about 1e-7, as probable as the best one."""

_MIN_TOP_P_TEMPERATURE = 1e-3
"""Below this temperature top-p asks for the whole row: the margin, 16 times the temperature, nears float32 rounding."""

_WEIGHT_ROUNDING = 1 << 18
"""An upper bound on what rounding adds to the sum of the weights: at most 1/2 for each of 2**18 tokens."""

_MARGIN_ROUNDING = 0.01
"""An upper bound on the float32 rounding of the distance between the largest logit and one that min-p keeps."""


def logit_filter(config: GenerationConfig, text: Text, allowed: LateMask | None = None) -> LogitFilter:
    """Return a filter that passes every logit which can change what `sample` or `log_probabilities` return.

    Args:
        config: The settings of the request.
        text: The text so far.
        allowed: The tokens that may be picked; see `LogitFilter.allowed`.
    """
    if config.logprobs is not None:  # they are those of the whole row, allowed or not
        return LogitFilter()
    limit = _size_limits(config)
    # A token whose logit changes may move into the top-k or out of it, so it must be there in any case. The logits of
    # all others are compared with each other as they are.
    always = adjusted_tokens(config, text) if limit.has_limits and adjusts(config) else None
    return limit if allowed is None and always is None else replace(limit, allowed=allowed, always=always)


def _size_limits(config: GenerationConfig) -> LogitFilter:
    """Return a filter that passes every logit which temperature, top-k, top-p and min-p can use."""
    if config.temperature == 0:
        return LogitFilter(count=1)
    if config.top_k == 0 and config.top_p < 1:
        # Top-p compares with the sum of all weights. It does not need each improbable token for that: an upper bound on
        # the sum of their weights nearly always decides. `kept_tokens` says when it does not.
        if config.temperature < _MIN_TOP_P_TEMPERATURE:
            return LogitFilter()
        return LogitFilter(margin=_NUCLEUS_MARGIN * config.temperature, mass_temperature=config.temperature)
    if config.top_p < 1:
        # Top-p compares with the sum of the weights of all top-k tokens, so min-p must not drop any of them earlier.
        return LogitFilter(count=config.top_k)
    # Weights are rounded to 1 / ONE, and so is the smallest weight that min-p keeps: together at most 1.5 units.
    smallest = config.min_p - 1.5 / ONE
    margin = -config.temperature * math.log(smallest) + _MARGIN_ROUNDING if smallest > 0 else math.inf
    return LogitFilter(count=config.top_k or None, margin=margin)


def kept_tokens(
    logits: NDArray[np.float32], config: GenerationConfig, dropped_mass: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the tokens that temperature, top-k, top-p and min-p keep, and their weights.

    Args:
        logits: float32 [n], the largest logit of the row among them.
        config: The settings of the request; the temperature is above 0.
        dropped_mass: See `Candidates.dropped_mass`.

    Returns:
        Indices into `logits` and integer weights, int64 [kept] each. Weights fall if top-k or top-p is on; otherwise
        indices rise. None if the result depends on logits that are not in `logits`: ask for the whole row then.
    """
    indices = np.arange(len(logits)) if config.top_k == 0 else most_probable(logits, config.top_k)
    weights = softmax_weights(logits[indices], config.temperature)
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
    """Return the indices of the `count` largest values, largest first; of equal values the lowest index comes first."""
    if count < len(values):
        threshold = np.partition(values, len(values) - count)[len(values) - count]
        indices = np.flatnonzero(values >= threshold)
    else:
        indices = np.arange(len(values))
    return indices[np.argsort(-values[indices], kind="stable")][:count]


def _nucleus(weights: NDArray[np.int64], top_p: float, dropped_mass: float) -> NDArray[np.int64] | None:
    """Return the indices of the nucleus: the largest weights whose sum reaches the share `top_p` of all weights.

    Tokens that the device dropped have a weight too. Their sum is unknown, from 0 up to `dropped_mass` * `ONE`. So the
    sum to reach is known only as an interval, `low` to `high`.

    Args:
        weights: int64 [n].
        top_p: Above 0 and below 1.
        dropped_mass: Upper bound on the sum of the dropped weights, in units of the largest weight.

    Returns:
        int64 [kept], largest weight first; the last one crosses `top_p`. None if the dropped tokens can change it.
    """
    if dropped_mass > 1:  # a bound above the weight of the best token hardly ever decides
        return None
    total = int(weights.sum())
    # The device sums in float32: 0.1 % covers its rounding.
    dropped = math.ceil(dropped_mass * ONE * 1.001) + _WEIGHT_ROUNDING if dropped_mass > 0 else 0
    low, high = top_p * total, top_p * (total + dropped)
    for count in (_NUCLEUS_GUESS, len(weights)):
        order = most_probable(weights, count)
        cumulative = np.cumsum(weights[order])
        if cumulative[-1] >= high:
            break
    first, last = np.searchsorted(cumulative, (low, high), side="left")
    # The nucleus is certain if it ends at the same token for every sum in the interval, and that token is more probable
    # than the smallest one here: a dropped token may weigh as much as the smallest, and have a lower id.
    if dropped and (first != last or last == len(order) or weights[order[last]] == weights.min()):
        return None
    return order[: int(first) + 1]
