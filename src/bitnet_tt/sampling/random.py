"""The random noise of a text: one number for each position and token, from the seed alone.

A number depends on the seed, the choice, the position and the token, and on nothing else. So a text does not depend on
the batch, and a request that is preempted, speculated on or moved to another machine has no random state to carry.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Noise

type _Words = NDArray[np.uint64]
type _Blocks = tuple[_Words, _Words, _Words, _Words]

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10

_LN2 = 0.693147180559945309
_SERIES = [1 / (2 * n + 1) for n in range(18, -1, -1)]
"""atanh(s) = s * (1 + s**2 / 3 + s**4 / 5 + ...), highest power first. Its error for s up to 1/3 is below 1e-17 * s."""

_APPROXIMATION = 1e-9
"""More than NumPy's logarithms and one rounding can change a sum of logit and noise, relative to its largest part."""

_LARGEST_NOISE = 46.0
"""No noise is larger: it is -ln of at least 2**-65, and at least -ln(46)."""


class RandomNumbers:
    """The random numbers of one text.

    Args:
        seed: From 0 to 2**64 - 1. None takes a seed from the operating system.
        choice: Which of several texts of the same prompt and seed this is; the first is 0.

    Attributes:
        seed: The seed.
        choice: The choice.
    """

    __slots__ = ("choice", "seed")

    def __init__(self, seed: int | None, choice: int = 0) -> None:
        self.seed = secrets.randbits(64) if seed is None else seed
        self.choice = choice

    def noise(self, position: int, temperature: float) -> Noise:
        """Return the noise of the token at a position of the text: how many tokens are before it."""
        return Noise(self.seed, position, self.choice, temperature)


def winner(logits: NDArray[np.float32], token_ids: NDArray[np.int64], noise: Noise) -> int:
    """Return the index of the token with the largest logit + temperature * noise; of equal sums, of the lowest token.

    It is a sample of softmax(logits / temperature), because the noise has the Gumbel distribution.

    Args:
        logits: float32 [n], at least one of them finite.
        token_ids: int64 [n], rising.
        noise: The noise of the row.
    """
    words = noise_words(noise, token_ids)
    wide = logits.astype(np.float64)
    # NumPy's logarithms may differ in the last bits from one processor to another. They only decide which few tokens
    # the exact noise is computed for; mostly one is left.
    sums = wide + noise.temperature * _approximate_gumbel(words)
    best = int(np.argmax(sums))
    slack = _APPROXIMATION * (abs(float(wide[best])) + _LARGEST_NOISE * noise.temperature)
    near = np.flatnonzero(sums >= sums[best] - 2 * slack)
    if len(near) == 1:
        return int(near[0])
    return int(near[np.argmax(wide[near] + noise.temperature * gumbel(words[near]))])


def gumbel(words: _Words) -> NDArray[np.float64]:
    """Return the noise of random words: -ln(-ln(1 - r)) for r = (word + 1/2) / 2**64, with the same bits everywhere."""
    beyond_half, distance = _fold(words)
    near_zero = 2.0 * _atanh(distance / (2.0 - distance))  # -ln(1 - distance)
    noise: NDArray[np.float64] = -_log(np.where(beyond_half, -_log(distance), near_zero))
    return noise


def _approximate_gumbel(words: _Words) -> NDArray[np.float64]:
    beyond_half, distance = _fold(words)
    noise: NDArray[np.float64] = -np.log(-np.where(beyond_half, np.log(distance), np.log1p(-distance)))
    return noise


def _fold(words: _Words) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether r is above 1/2, and the distance of r from 1 if so, or else from 0: at most 1/2."""
    beyond_half = words >> np.uint64(63) != 0
    folded = np.where(beyond_half, ~words, words)
    # Both halves are exact in float64, so that their sum rounds once.
    high, low = (folded >> _HALF).astype(np.float64), (folded & _WORD).astype(np.float64)
    return beyond_half, (high * 2.0**32 + low + 0.5) * 2.0**-64


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ln(x) by additions, multiplications and divisions alone, which IEEE 754 rounds the same way everywhere."""
    fraction, exponent = np.frexp(x)
    low = fraction < 0.70710678
    fraction, exponent = np.where(low, 2.0 * fraction, fraction), exponent - low
    return exponent * _LN2 + 2.0 * _atanh((fraction - 1.0) / (fraction + 1.0))


def _atanh(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return atanh(s) for |s| of at most 1/3."""
    square = s * s
    result = np.full_like(s, _SERIES[0])
    for coefficient in _SERIES[1:]:
        result *= square
        result += coefficient
    return s * result


def noise_words(noise: Noise, token_ids: NDArray[np.int64]) -> _Words:
    """Return the random word of each token, uint64 [n]."""
    position, choice, zero = (np.array([word], np.uint64) for word in (noise.position, noise.choice, 0))
    counter = token_ids.astype(np.uint64), position, choice, zero
    first, second, _, _ = philox(counter, (noise.seed & int(_WORD), noise.seed >> 32))
    return first << _HALF | second


def philox(counter: tuple[_Words, _Words, _Words, _Words], key: tuple[int, int]) -> _Blocks:
    """Return blocks of Philox4x32-10: four random 32-bit words for each counter.

    Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011.

    Args:
        counter: Four 32-bit words, uint64 [n] each, or [1] for the same word in each counter.
        key: Two 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The high halves of two 64-bit products are mixed with the other words and the key; the low halves stay.
        a, b = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = b >> _HALF ^ c1 ^ np.uint64(k0), b & _WORD, a >> _HALF ^ c3 ^ np.uint64(k1), a & _WORD
        k0, k1 = k0 + _KEY_STEPS[0] & 0xFFFFFFFF, k1 + _KEY_STEPS[1] & 0xFFFFFFFF
    return c0, c1, c2, c3
