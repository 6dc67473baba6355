"""Ternary weights in huge pages, and denser where that is faster.

Memory is read about a tenth faster where the processor looks up fewer pages. Where several threads share it, it is the
limit, and weights in 5 bits for three are read faster than in 6; one thread takes as long to look them up as that saves
(docs/decisions/0001).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.host import memory_limit
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import LayerWeights, TernaryMatrix

_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PAGE_BYTES = 2 << 20
_ALIGNMENT = 64

# Less than this stays in the processor's caches, or is soon read anyway.
_LEAST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a ternary matrix lies.

    Attributes:
        packed: Its bytes: as in `TernaryMatrix`, or dense.
        dense: The shape [out, in] of a dense matrix, else None.
    """

    packed: NDArray[np.uint8]
    dense: tuple[int, int] | None = None


class LayerArena:
    """Memory for the ternary matrices of one layer; or none, and they serve from where they are."""

    def __init__(self, memory: NDArray[np.uint8] | None = None, dense_isa: str | None = None) -> None:
        """Take matrices as stored, or with `dense_isa` in the dense form of that instruction set."""
        self._memory = memory
        self._dense_isa = dense_isa

    def place(self, matrix: TernaryMatrix) -> Placed:
        """Copy a matrix, and give its pages back if they are of a mapped file; or leave it where it is."""
        packed = matrix.packed
        if self._memory is None or not _moves(packed, dense=self._dense_isa is not None):
            return Placed(packed)
        if self._dense_isa is None:
            copy = Placed(self._take(packed.shape))
            np.copyto(copy.packed, packed)
        else:
            shape = (matrix.out_features, matrix.in_features)
            copy = Placed(self._take(_native.dense_shape(*shape)), shape)
            _native.pack_dense(packed, copy.packed, self._dense_isa)
        region = region_of(packed)
        if region is not None:
            region.release()
        return copy

    def _take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        assert self._memory is not None
        size = math.prod(shape)
        taken, self._memory = self._memory[:size].reshape(shape), self._memory[_rounded(size) :]
        return taken


def allocate_arenas(layers: Sequence[LayerWeights], *, threads: int, isa: str) -> list[LayerArena]:
    """Huge pages for each layer's ternary matrices.

    There are none where the system has none or refuses them, or where they would take half of the memory there is.
    A matrix that lies in memory already stays there, unless it becomes dense.

    Args:
        layers: The layers' weights; their matrices are uint8 with two dimensions.
        threads: How many will read them.
        isa: The instruction set, empty for the fastest.
    """
    dense = threads > 1 and _native.packs_dense(isa)
    sizes = [sum(_room(layer.linear(name), dense=dense) for name in LINEAR_NAMES) for layer in layers]
    total = sum(sizes)
    if not _LEAST_BYTES <= total <= memory_limit() // 2 or not _available():
        return [LayerArena() for _ in layers]
    try:
        memory = _allocate(total)
    except OSError:  # the system grants no such memory
        return [LayerArena() for _ in layers]
    parts = np.split(memory, np.cumsum(sizes)[:-1])
    return [LayerArena(part, isa if dense else None) for part in parts]


def _available() -> bool:
    try:
        return "[never]" not in _SETTING.read_text()
    except OSError:
        return False


def _allocate(size: int) -> NDArray[np.uint8]:
    pages = mmap.mmap(-1, size + _PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(pages, np.uint8)
    return memory[-memory.ctypes.data % _PAGE_BYTES :][:size]


def _room(matrix: TernaryMatrix, *, dense: bool) -> int:
    if not _moves(matrix.packed, dense=dense):
        return 0
    shape = _native.dense_shape(matrix.out_features, matrix.in_features) if dense else matrix.packed.shape
    return _rounded(math.prod(shape))


def _moves(packed: NDArray[np.uint8], *, dense: bool) -> bool:
    return dense or region_of(packed) is not None


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
