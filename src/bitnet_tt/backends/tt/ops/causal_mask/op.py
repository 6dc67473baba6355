"""The causal attention mask of a step."""

from __future__ import annotations

import numpy as np
import ttnn

from bitnet_tt.backends.tt.ops.common.program import move
from bitnet_tt.backends.tt.planning.grid import TILE

_MASKED = np.array([-1e30], np.float32)
"""Added to scores of later positions; minus infinity would make NaN of a row's own maximum."""


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
