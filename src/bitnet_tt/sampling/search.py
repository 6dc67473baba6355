"""Pick a token from a row of which only some logits are known, and bounds of the others.

The pick is the token with the largest sum of logit and noise of those that top-p and min-p keep. A known token surely
belongs to the nucleus if the weights before it are too few even if every missing logit is as large as its bound. It
surely does not if they are enough even so. Only if neither is sure, more logits are computed, those with the largest
bounds first. So the result is always that of the whole row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import MissingLogits, Noise
from bitnet_tt.backends.masks import ids_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.filters import has_cut, kept_tokens, most_probable, smallest_weight
from bitnet_tt.sampling.random import winner
from bitnet_tt.sampling.softmax import ONE, softmax_weights

_BOUND_SLACK = 1.001
"""More than float32 rounding can take off the bound of a weight, or off a sum of weights."""

_SURE = 1e-9
"""More than float64 rounding can change a share of the weights."""

_ROOM = 0.9
"""The bounds of the logits that stay missing may take this part of what they can weigh without changing the pick."""

_FIRST_LOGITS, _MORE_LOGITS = 1024, 8
"""At most this many logits are computed at once, or this many times the known ones: a part of what the bounds ask for
is mostly enough."""

_FAR = 80.0
"""A logit this many temperatures below the largest has a weight that rounds to 0."""

_FLOAT32_TEMPERATURE = 1e-30
"""Smaller temperatures are taken as this for bounds: float32 has no much smaller numbers."""


class Search:
    """The search for the pick of one row. Call `pick` once.

    Args:
        logits: float32 [n], with logit_bias and penalties: the largest logit of the row, and maybe others.
        token_ids: int64 [n], rising: their tokens.
        missing: The other logits, which no penalty changes.
        config: The settings of the request; top-k is off.
        noise: The noise of the row.
        allowed: The tokens that may be picked; None is all.
    """

    def __init__(
        self,
        logits: NDArray[np.float32],
        token_ids: NDArray[np.int64],
        missing: MissingLogits,
        config: GenerationConfig,
        noise: Noise,
        allowed: NDArray[np.uint32] | None,
    ) -> None:
        self._logits = logits
        self._token_ids = token_ids
        self._missing = missing
        self._config = config
        self._noise = noise
        self._allowed = allowed

    def pick(self) -> int:
        """Return the token."""
        if self._missing.has_winner and not has_cut(self._config):
            return self._winner(np.arange(len(self._logits)))
        self._bounds = self._weight_bounds()
        return self._pick_by_noise() if self._missing.has_winner else self._pick_by_weight()

    def _pick_by_noise(self) -> int:
        """Pick if the largest sum of logit and noise is not one of a missing logit."""
        kept = np.arange(len(self._logits))  # may be kept by top-p and min-p; no other token can win
        while True:
            token_id = self._winner(kept)
            row = self._known()
            place = int(np.flatnonzero(self._token_ids[row.order] == token_id)[0])
            if row.surely_inside(place):
                return token_id
            if row.surely_outside(place):
                # What is kept comes before the first token that surely is not, and may be missing.
                end = row.first_outside()
                last = max(int(row.weights[end]), 1)
                kept_ids = self._token_ids[row.order[:end]]
                kept_ids = np.union1d(kept_ids, self._compute(self._bounds >= last))
                kept = np.searchsorted(self._token_ids, kept_ids)
            else:
                kept_ids = self._token_ids[kept]
                self._compute(row.deciding(place))
                kept = np.searchsorted(self._token_ids, kept_ids)

    def _pick_by_weight(self) -> int:
        """Pick if any missing logit may have the largest sum with its noise: find all tokens that are kept."""
        kept = kept_tokens(self._logits, self._config)
        if not self._known().surely_all(len(kept)):
            self._compute(self._bounds > 0)
            kept = kept_tokens(self._logits, self._config)
        return self._winner(kept)

    def _winner(self, indices: NDArray[np.int64]) -> int:
        token_ids = self._token_ids[indices]
        return int(token_ids[winner(self._logits[indices], token_ids, self._noise)])

    def _known(self) -> _Known:
        weights = softmax_weights(self._logits, self._config.temperature)
        return _Known(weights, self._bounds, self._config)

    def _weight_bounds(self) -> NDArray[np.float32]:
        """Return an upper bound of the weight of each missing token; 0 for all others."""
        temperature = np.float32(max(self._config.temperature, _FLOAT32_TEMPERATURE))
        bounds: NDArray[np.float32] = self._missing.upper_bounds() - self._logits.max()
        np.clip(bounds, -_FAR * temperature, 0, out=bounds)
        bounds /= temperature
        np.exp(bounds, out=bounds)
        bounds *= np.float32(ONE * _BOUND_SLACK)
        bounds += 1  # weights are rounded to integers
        bounds[self._token_ids] = 0
        if self._allowed is not None:
            bounds[ids_of(~self._allowed, len(bounds))] = 0
        return bounds

    def _compute(self, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Compute the logits of missing tokens; return their ids.

        Args:
            wanted: bool [vocab]; false for a token whose logit is known.
        """
        new_ids = np.flatnonzero(wanted)
        if len(new_ids):
            token_ids = np.concatenate([self._token_ids, new_ids])
            order = np.argsort(token_ids)
            self._token_ids = token_ids[order]
            self._logits = np.concatenate([self._logits, self._missing.compute(new_ids)])[order]
            self._bounds[new_ids] = 0
        return new_ids


class _Known:
    """The known tokens of a row in the order of top-p, and what the bounds of the others say about them.

    A place is an index into the order: 0 is the most probable known token.

    Attributes:
        order: Indices of the known tokens, largest weight first; of equal weights the lowest token id.
        weights: Their weights, in this order.
    """

    def __init__(self, weights: NDArray[np.int64], bounds: NDArray[np.float32], config: GenerationConfig) -> None:
        self.order = most_probable(weights, len(weights))
        self.weights = weights[self.order]
        cumulative = np.cumsum(self.weights)
        self._before = cumulative - self.weights
        self._total = float(cumulative[-1])
        self._bounds = bounds
        self._missing = float(bounds.sum(dtype=np.float64)) * _BOUND_SLACK
        self._slack = _SURE if self._missing > 0 else 0.0
        self._top_p = config.top_p
        self._smallest = smallest_weight(config)

    def surely_inside(self, place: int) -> bool:
        """Return whether the token is kept, whatever the missing logits are."""
        if self.weights[place] < self._smallest or self._top_p == 1:
            return bool(self.weights[place] >= self._smallest)
        may_be_before = self._before_bounds(place)
        before, total = float(self._before[place]) + may_be_before, self._total + may_be_before
        return before < self._top_p * total * (1 - self._slack)

    def surely_outside(self, place: int) -> bool:
        """Return whether the token is not kept, whatever the missing logits are."""
        return bool(self._outside()[place])

    def first_outside(self) -> int:
        """Return the first place that is surely outside; there must be one."""
        return int(np.argmax(self._outside()))

    def surely_all(self, count: int) -> bool:
        """Return whether the first `count` places are all that is kept, whatever the missing logits are."""
        last = count - 1
        if not self.surely_inside(last) or bool((self._bounds >= max(int(self.weights[last]), 1)).any()):
            return False
        if count < len(self.weights):
            return self.surely_outside(count)
        reached = float(self._before[last] + self.weights[last])
        return bool(self._bounds.max() < self._smallest) or reached >= self._needed()

    def deciding(self, place: int) -> NDArray[np.bool_]:
        """Return the missing tokens to compute, so that it becomes sure whether a token is kept; bool [vocab]."""
        before, total, top_p = float(self._before[place]), self._total, self._top_p
        if before < top_p * total:  # it is kept unless too much comes before it
            room = (top_p * total - before) / (1 - top_p)
            relevant = self._bounds[self._bounds >= self.weights[place]]
        else:  # it is not kept unless too much comes after it
            room = before / top_p - total
            relevant = self._bounds[self._bounds > 0]
        if not len(relevant):
            return self._bounds > 0
        relevant.sort()
        missing = int(np.searchsorted(np.cumsum(relevant, dtype=np.float64), room * _ROOM))
        most = max(_FIRST_LOGITS, _MORE_LOGITS * len(self.order))
        least = max(min(missing, len(relevant) - 1), len(relevant) - most)
        wanted: NDArray[np.bool_] = self._bounds >= relevant[least]
        return wanted

    def _before_bounds(self, place: int) -> float:
        """Return an upper bound of the weights of the missing tokens that may come before a known one."""
        bounds = self._bounds
        return float(bounds[bounds >= self.weights[place]].sum(dtype=np.float64)) * _BOUND_SLACK

    def _outside(self) -> NDArray[np.bool_]:
        """Return which places are surely outside."""
        outside: NDArray[np.bool_] = self.weights < self._smallest
        if self._top_p < 1:
            outside |= self._before >= self._needed()
        return outside

    def _needed(self) -> float:
        """Return a sum of weights that surely reaches top-p."""
        return self._top_p * (self._total + self._missing) * (1 + self._slack)
