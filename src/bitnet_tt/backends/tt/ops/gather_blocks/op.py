"""Copy the blocks of a paged cache that attention reads into one tensor."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import move
from bitnet_tt.backends.tt.planning.grid import TILE


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
