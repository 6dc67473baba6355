"""The paged KV cache and the rows' positions on the device, by small kernels of our own that only move bytes.

The stock operations write whole blocks or one row a core, take no float32, and read pages only inside their attention.
"""

from __future__ import annotations

import numpy as np
import ttnn

from bitnet_tt.backends.tt.ops.common.program import move
from bitnet_tt.backends.tt.planning.grid import TILE

_MASKED = np.array([-1e30], np.float32)
"""Added to scores of later positions; minus infinity would make NaN of a row's own maximum."""


def scatter_rows(source: ttnn.Tensor, slots: ttnn.Tensor, cache: ttnn.Tensor) -> None:
    """Write rows into the cache.

    Args:
        source: [1, heads, rows, head_dim], tiled, of the cache's dtype; rows a multiple of 32.
        slots: uint32 [1, rows], row-major: block * 32 + position in the block, or `groups.SKIP`.
        cache: [blocks, heads, 32, head_dim], tiled.
    """
    _, heads, rows, width = source.shape
    element = source.element_size()
    move(
        "scatter_rows/kernel.cpp",
        tensors=[source, slots, cache],
        counts=[rows // TILE],
        sizes=[heads, width // TILE, element],
        buffers=[TILE * TILE * element, TILE * slots.element_size()],
    )


def gather_blocks(
    caches: tuple[ttnn.Tensor, ttnn.Tensor], table: ttnn.Tensor, sequences: int, length: int
) -> tuple[ttnn.Tensor, ttnn.Tensor]:
    """Copy blocks out of the caches of keys and values.

    Args:
        caches: [blocks, heads, 32, head_dim] each, tiled, of one dtype.
        table: uint32 [sequences or more, length or more], row-major: block numbers, each inside the cache.
        sequences: Rows of the table to take.
        length: Columns of the table to take.

    Returns:
        Keys and values [sequences, heads, 32 * length, head_dim], tiled, of the caches' dtype.
    """
    _, heads, _, width = caches[0].shape
    tile_bytes = TILE * TILE * caches[0].element_size()
    shape = [sequences, heads, TILE * length, width]
    keys, values = (
        ttnn.empty(shape, dtype=cache.dtype, layout=ttnn.TILE_LAYOUT, device=cache.device()) for cache in caches
    )
    move(
        "gather_blocks/kernel.cpp",
        tensors=[*caches, table, keys, values],
        counts=[sequences, length, table.shape[1]],
        sizes=[heads, width // TILE, tile_bytes],
        buffers=[width // TILE * tile_bytes, table.shape[1] * table.element_size()],
    )
    return keys, values


def causal_mask(
    positions: ttnn.Tensor, sequences: int, heads: int, tokens: int, length: int, dtype: ttnn.DataType
) -> ttnn.Tensor:
    """What is added to scores: 0 for positions up to the row's own, -1e30 for later ones.

    Args:
        positions: uint32 [1, n], row-major: of each sequence's tokens, one sequence after another.
        sequences: How many.
        heads: Query heads that share a key/value head; attention sees R = heads * tokens rows of a sequence.
        tokens: Tokens of each sequence.
        length: Positions to mask, a multiple of 32.
        dtype: float32 or bfloat16.

    Returns:
        [sequences, 1, R, length], tiled.
    """
    device, count, rows = positions.device(), positions.shape[1], heads * tokens
    mask = ttnn.empty([sequences, 1, rows, length], dtype=dtype, layout=ttnn.TILE_LAYOUT, device=device)
    element = mask.element_size()
    bits = int(_MASKED.view(np.uint32)[0])
    tile_bytes = TILE * TILE * element
    move(
        "causal_mask/kernel.cpp",
        tensors=[positions, mask],
        counts=[sequences, -(-rows // TILE), length // TILE, tokens, count],
        sizes=[element, bits >> 16 << 16 | bits >> 16 if element == 2 else bits],
        buffers=[tile_bytes, tile_bytes, tile_bytes, count * positions.element_size()],
    )
    return mask
