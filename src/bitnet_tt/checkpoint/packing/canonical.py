"""The canonical layout of ternary weights: that of the Hugging Face checkpoints and of `TernaryMatrix`.

Codes 0, 1 and 2 stand for -1, 0 and +1. Four codes share a byte: for a matrix [out, in], bits 2i..2i+1 of byte [r, c]
hold the code of row i * out/4 + r, column c.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Bytes = NDArray[np.uint8]


def pack(codes: Codes) -> Bytes:
    """Pack codes [out, in] into uint8 [out / 4, in]."""
    first, second, third, fourth = codes.reshape(4, -1, codes.shape[1])
    packed: Bytes = first | second << np.uint8(2) | third << np.uint8(4) | fourth << np.uint8(6)
    return packed


def unpack(packed: Bytes) -> Codes:
    """Unpack uint8 [out / 4, in] to codes [out, in]. A code is 3 where the bytes are not ternary."""
    return np.concatenate([packed >> np.uint8(2 * i) & np.uint8(3) for i in range(4)])
