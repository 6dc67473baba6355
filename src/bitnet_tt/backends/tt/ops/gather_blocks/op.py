"""Copy the blocks of the paged KV cache that attention reads into two tensors.

The stock operations read pages of a cache only inside their own attention.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.grid import TILE


def gather_blocks(
    caches: tuple[ttnn.Tensor, ttnn.Tensor], table: ttnn.Tensor, sequences: int, length: int
) -> tuple[ttnn.Tensor, ttnn.Tensor]:
    """Copy the first blocks of some sequences out of the caches of keys and values.

    Args:
        caches: Keys and values, [blocks, kv_heads, 32, head_dim] each, tiled, of one dtype.
        table: uint32 [sequences or more, length or more], row-major. Block numbers, each inside the cache.
        sequences: Number of rows of the table to take.
        length: Number of columns of the table to take.

    Returns:
        Keys and values [sequences, kv_heads, 32 * length, head_dim], tiled, of the caches' dtype.
    """
    _, kv_heads, _, head_dim = caches[0].shape
    columns, tile_bytes = head_dim // TILE, TILE * TILE * caches[0].element_size()
    shape = [sequences, kv_heads, TILE * length, head_dim]
    keys, values = (
        ttnn.empty(shape, dtype=cache.dtype, layout=ttnn.TILE_LAYOUT, device=cache.device()) for cache in caches
    )
    launch(
        reader=Kernel(
            "gather_blocks/gather_blocks.cpp",
            tensors={
                "keys": caches[0],
                "values": caches[1],
                "table": table,
                "key_target": keys,
                "value_target": values,
            },
            constants={"kv_heads": kv_heads, "columns": columns, "tile_bytes": tile_bytes},
            arguments={"sequences": sequences, "length": length, "table_columns": table.shape[1]},
        ),
        buffers={"tiles": Buffer(columns * tile_bytes), "blocks": Buffer(table.shape[1] * table.element_size())},
    )
    return keys, values
