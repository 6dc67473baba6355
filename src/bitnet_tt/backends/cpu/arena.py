"""Copies of ternary weights in huge pages, in the dense form where that is faster.

Memory is read about a tenth faster from huge pages, because the processor looks up fewer addresses. Where several
threads share the memory, its bandwidth is the limit. Weights in the dense form are then read faster: three take 5 bits,
not 6 as stored. One thread gains nothing: looking up the values of the dense form takes as long as it saves
(docs/decisions/0001).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.host import memory_limit
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import LayerWeights, TernaryMatrix

# The kernel's setting; it says `[never]` if there are no huge pages.
HUGE_PAGE_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")

# Matrices of fewer bytes in total stay where they are: they fit in the processor's caches, or are small enough to be
# read quickly from anywhere.
MIN_ARENA_BYTES = 64 << 20

_PAGE_BYTES = 2 << 20
_ALIGNMENT = 64  # bytes: a cache line


@dataclass(frozen=True, slots=True)
class Placed:
    """A ternary matrix in the place and form in which native code reads it.

    Attributes:
        packed: uint8: the bytes of `TernaryMatrix.packed`, or of the dense form, see `_native.dense_shape`.
        dense: The shape [out, in] of a matrix in the dense form, else None.
    """

    packed: NDArray[np.uint8]
    dense: tuple[int, int] | None = None


class LayerArena:
    """A memory block for the ternary matrices of one layer."""

    def __init__(self, memory: NDArray[np.uint8], dense_isa: str | None = None) -> None:
        """Copy matrices to `memory`.

        Args:
            memory: Bytes [n], enough for the layer's matrices.
            dense_isa: Convert them to the dense form by this instruction set (empty for the fastest). None copies them
                as stored.
        """
        self._memory = memory
        self._dense_isa = dense_isa

    def place(self, matrices: Sequence[TernaryMatrix], threads: int = 1) -> list[Placed]:
        """Copy the layer's matrices to the arena, and release their pages of a mapped file.

        A stored matrix that is in memory already stays there.
        """
        places = [self._place_for(matrix) for matrix in matrices]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._fill, places, matrices))

    def _place_for(self, matrix: TernaryMatrix) -> Placed:
        """Return where a matrix will be."""
        if not _moves(matrix.packed, dense=self._dense_isa is not None):
            return Placed(matrix.packed)
        if self._dense_isa is None:
            return Placed(self._take(matrix.packed.shape))
        shape = (matrix.out_features, matrix.in_features)
        return Placed(self._take(_native.dense_shape(*shape)), shape)

    def _take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        size = math.prod(shape)
        taken, self._memory = self._memory[:size].reshape(shape), self._memory[_rounded(size) :]
        return taken

    def _fill(self, place: Placed, matrix: TernaryMatrix) -> Placed:
        if place.packed is matrix.packed:
            return place
        if self._dense_isa is None:
            np.copyto(place.packed, matrix.packed)
        else:
            _native.pack_dense(matrix.packed, place.packed, self._dense_isa)
        region = region_of(matrix.packed)
        if region is not None:
            region.release()
        return place


def ternary_matrices(layer: LayerWeights) -> list[TernaryMatrix]:
    """Return the matrices of a layer that have one scale. Those with group scales stay where the reader put them."""
    matrices = [layer.linear(name) for name in LINEAR_NAMES]
    return [matrix for matrix in matrices if isinstance(matrix, TernaryMatrix)]


def allocate_arenas(layers: Sequence[LayerWeights], *, threads: int, isa: str) -> list[LayerArena]:
    """Allocate huge pages for the ternary matrices of each layer.

    There are no arenas if the system has no huge pages or refuses the memory, if the matrices have fewer than
    `MIN_ARENA_BYTES` in total, or if they would take more than half of the memory that this process may use.

    Args:
        layers: The layers' weights; their matrices are uint8 with two dimensions.
        threads: How many threads will read the matrices. With more than one, they take the dense form if `isa` has it.
        isa: The instruction set, empty for the fastest.

    Returns:
        One arena for each layer, or none: then all matrices stay where they are.
    """
    dense = threads > 1 and _native.packs_dense(isa)
    sizes = [sum(_arena_bytes(matrix, dense=dense) for matrix in ternary_matrices(layer)) for layer in layers]
    total = sum(sizes)
    if not MIN_ARENA_BYTES <= total <= memory_limit() // 2 or not _has_huge_pages():
        return []
    try:
        memory = _allocate(total)
    except OSError:  # the system grants no such memory
        return []
    parts = np.split(memory, np.cumsum(sizes)[:-1])
    return [LayerArena(part, isa if dense else None) for part in parts]


def _has_huge_pages() -> bool:
    try:
        return "[never]" not in HUGE_PAGE_SETTING.read_text()
    except OSError:
        return False


def _allocate(size: int) -> NDArray[np.uint8]:
    pages = mmap.mmap(-1, size + _PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(pages, np.uint8)
    # The mapping has one page more than needed: begin at the first address that is a multiple of a page.
    memory = memory[-memory.ctypes.data % _PAGE_BYTES :][:size]
    _native.interleave_pages(memory)
    return memory


def _arena_bytes(matrix: TernaryMatrix, *, dense: bool) -> int:
    if not _moves(matrix.packed, dense=dense):
        return 0
    shape = _native.dense_shape(matrix.out_features, matrix.in_features) if dense else matrix.packed.shape
    return _rounded(math.prod(shape))


def _moves(packed: NDArray[np.uint8], *, dense: bool) -> bool:
    """Return whether a matrix is copied: always to the dense form, otherwise only out of a mapped file."""
    return dense or region_of(packed) is not None


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
