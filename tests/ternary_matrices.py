"""Random ternary matrices, as values and as they are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.weights import TernaryMatrix


def random_matrix(
    random: np.random.Generator, out_features: int, in_features: int
) -> tuple[NDArray[np.int64], TernaryMatrix]:
    """Return the values of a random ternary matrix, and the matrix as it is stored."""
    values = random.integers(-1, 2, (out_features, in_features))
    quarters = (values + 1).astype(np.uint8).reshape(4, out_features // 4, in_features)
    packed = quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6
    return values, TernaryMatrix(packed, np.float32(random.uniform(0.5, 2)))
