"""The random numbers of a request: the same on every machine for the same seed."""

from __future__ import annotations

import numpy as np


class RandomStream:
    """The random integers of one request, made by Philox, whose stream NumPy guarantees.

    Not thread-safe: only the thread that steps the engine draws from it.

    Args:
        seed: The same seed gives the same numbers. None takes a seed from the operating system.
    """

    def __init__(self, seed: int | None) -> None:
        self._bits = np.random.Philox(key=seed) if seed is not None else np.random.Philox()

    def below(self, total: int) -> int:
        """Draw an integer from 0 to `total` - 1; `total` is at most 2**63.

        The integer is floor(r * total / 2**64) for a raw 64-bit number r. Integer arithmetic is exact, so no rounding
        mode of a processor can change the result.
        """
        return (int(self._bits.random_raw()) * total) >> 64
