"""The order of a matrix's elements on the card, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.tt.planning.grid import TILE

_FACE = TILE // 2


def transposed_tiles[T: np.generic](matrix: NDArray[T]) -> NDArray[T]:
    """Return the tiles of a matrix [out, in] transposed: [out / 32, in / 32, 1024], in the order of tile.hpp."""
    out_features, in_features = matrix.shape
    # An element of a tile: [row half, column half, row, column], and rows go along `in`.
    faces = matrix.reshape(out_features // TILE, 2, _FACE, in_features // TILE, 2, _FACE).transpose(0, 3, 4, 1, 5, 2)
    return np.ascontiguousarray(faces).reshape(out_features // TILE, in_features // TILE, TILE * TILE)


def words(tiles: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the bytes of an array as words of 32 bits, in one dimension."""
    return np.ascontiguousarray(tiles).view(np.uint8).reshape(-1).view(np.uint32)
