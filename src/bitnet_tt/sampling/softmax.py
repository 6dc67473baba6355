"""Softmax in integers: the probabilities of tokens, with the same bits on every machine.

NumPy's `exp` and `sum` may differ in the last bit from one processor to another, and one such bit can change the token
that a random number picks. So `exp` is computed here by multiplications and additions alone, which IEEE 754 rounds the
same way everywhere, and its result is rounded to an integer. Sums and comparisons of integers are exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 44
"""The weight of the most probable token. The weights of 2**18 such tokens still sum to less than 2**63."""

# exp(x) is 2**n * exp(r), with n = round(x / ln 2) and |r| <= ln(2) / 2. ln 2 is split into two parts: n times the high
# part is exact, so r loses no digits (Cody and Waite).
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
_EXP_COEFFICIENTS = [1 / math.factorial(n) for n in range(12, -1, -1)]
"""Taylor series of exp(r), highest power first. Its error for |r| <= ln(2) / 2 is below 2e-16."""

_SMALLEST_EXPONENT = -64.0
"""exp(-64) is below 2**-92, so its weight is 0. Smaller exponents are raised to this, which keeps 2**n in range."""


def softmax_weights(logits: NDArray[np.float32], temperature: float) -> NDArray[np.int64]:
    """Return the unnormalised probabilities of tokens as integers.

    Args:
        logits: float32 [n].
        temperature: Above 0.

    Returns:
        exp((logits - max(logits)) / temperature) in units of 1 / `ONE`, rounded to the nearest integer; int64 [n].
    """
    # The smallest exponent is a limit before the division, which would overflow at a tiny temperature.
    x = np.maximum(logits.astype(np.float64) - float(logits.max()), _SMALLEST_EXPONENT * temperature) / temperature
    exponent = np.rint(x * _LOG2_E)
    remainder = (x - exponent * _LN2_HIGH) - exponent * _LN2_LOW
    result = np.full_like(remainder, _EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        result *= remainder
        result += coefficient
    weights: NDArray[np.int64] = np.rint(np.ldexp(result, exponent.astype(np.int32)) * ONE).astype(np.int64)
    return weights
