"""Write rows of a tiled tensor into slots of a paged cache.

The stock operations write whole blocks, or one row a core, and take no float32.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.step.groups import SKIP


def scatter_rows(source: ttnn.Tensor, slots: ttnn.Tensor, cache: ttnn.Tensor) -> None:
    """Write rows into their slots of the cache.

    Args:
        source: [1, heads, rows, head_dim], tiled, of the cache's dtype. The number of rows is a multiple of 32.
        slots: uint32 [1, rows], row-major. A slot is block * 32 + position in the block, or `groups.SKIP`.
        cache: [blocks, heads, 32, head_dim], tiled.
    """
    _, heads, rows, head_dim = source.shape
    element_bytes = source.element_size()
    launch(
        reader=Kernel(
            "scatter_rows/scatter_rows.cpp",
            tensors={"source": source, "slots": slots, "cache": cache},
            constants={
                "heads": heads,
                "columns": head_dim // TILE,
                "element_bytes": element_bytes,
                "skip": SKIP,
            },
            arguments={"row_tiles": rows // TILE},
        ),
        buffers={"tile": Buffer(TILE * TILE * element_bytes), "slots": Buffer(TILE * slots.element_size())},
    )
