"""Write rows of a tiled tensor into slots of a paged cache."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import move
from bitnet_tt.backends.tt.planning.grid import TILE


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
