"""Weights as tensors on the card, and a cache of converted weights on disk that makes a second start faster."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.weights import TernaryMatrix, bfloat16_to_float32

_TERNARY = np.array([-1, 0, 1, 0], np.float32)
"""The value of each 2-bit code of `TernaryMatrix.packed`; the fourth code is not used."""


def ternary_tiles(card: Card, matrices: Sequence[TernaryMatrix]) -> ttnn.Tensor:
    """Put ternary matrices side by side on the card, transposed and without their scales.

    Args:
        card: The card.
        matrices: Matrices [out, in] with the same `in`.

    Returns:
        bfp4 [1, 1, in, sum of all out], values -1, 0 and 1.
    """
    return _cached(
        card,
        ttnn.bfloat4_b,
        [matrix.packed for matrix in matrices],
        lambda: np.concatenate([_transposed(matrix) for matrix in matrices], axis=1),
    )


def lm_head_tiles(card: Card, lm_head: NDArray[np.uint16], dtype: Any) -> ttnn.Tensor:
    """Put the lm_head, bfloat16 bits [vocab, hidden], on the card, transposed: [1, 1, hidden, vocab] in `dtype`."""
    return _cached(card, dtype, [lm_head], lambda: bfloat16_to_float32(lm_head).T)


def padded_row(card: Card, values: NDArray[np.float32]) -> ttnn.Tensor:
    """Put a vector on the card: float32 [1, n], row-major, zeros up to a multiple of 1024, the elements of a tile."""
    padded = np.zeros((1, -(-len(values) // TILE**2) * TILE**2), np.float32)
    padded[0, : len(values)] = values
    return card.rows(padded, ttnn.float32)


def _transposed(matrix: TernaryMatrix) -> NDArray[np.float32]:
    """Unpack a matrix to T transposed, float32 [in, out]; for the packing see `TernaryMatrix`."""
    columns = np.ascontiguousarray(matrix.packed.T)
    return np.concatenate([_TERNARY[(columns >> shift) & 3] for shift in (0, 2, 4, 6)], axis=1)


def _cached(
    card: Card, dtype: Any, sources: Sequence[NDArray[Any]], convert: Callable[[], NDArray[np.float32]]
) -> ttnn.Tensor:
    """Return a matrix as tiles on the card; convert it only if its file is not in ttnn's cache folder.

    A file is named by a digest of its sources, so no file is ever out of date. A file that ttnn cannot read is
    converted again. If the folder cannot be written, nothing is kept.
    """
    path = Path(ttnn.CONFIG.model_cache_path) / "bitnet-tt" / f"{_digest(sources, str(dtype))}.tensorbin"
    if path.exists():
        try:
            return ttnn.load_tensor(path, device=card.device)
        except RuntimeError:
            path.unlink(missing_ok=True)
    host = ttnn.Tensor(np.ascontiguousarray(convert())[None, None], dtype, None, ttnn.TILE_LAYOUT)
    with contextlib.suppress(OSError):
        save_tiles(path, host)
    return host.to(card.device)


def _digest(sources: Sequence[NDArray[Any]], dtype: str) -> str:
    """Return a digest of ttnn's version, the dtype, and the shapes and bytes of the sources."""
    digest = hashlib.blake2b(f"{version('ttnn')} {dtype}".encode(), digest_size=20)
    for source in sources:
        digest.update(str(source.shape).encode())
        digest.update(np.ascontiguousarray(source).data)
    return digest.hexdigest()


def save_tiles(path: Path, tensor: ttnn.Tensor) -> None:
    """Write a tensor to a file. The file appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        ttnn.dump_tensor(unfinished, tensor)
        unfinished.replace(path)
