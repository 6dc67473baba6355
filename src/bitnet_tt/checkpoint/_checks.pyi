"""Looks at every byte of weights; from native/check_bindings.cpp."""

import numpy as np
from numpy.typing import NDArray

def count_codes(packed: NDArray[np.uint8], threads: int) -> tuple[int, int, int, int]:
    """How often the code 3 (at least 1 if ever), -1, 0 and +1 occur in bytes [n] of four codes each."""

def all_finite(bfloat16: NDArray[np.uint8], threads: int) -> bool:
    """Whether no bfloat16 value, given as bytes [2 * n], is NaN or infinite."""
