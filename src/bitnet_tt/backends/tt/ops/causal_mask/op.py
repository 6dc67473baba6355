"""The causal attention mask of a step, made on the device from the positions of its rows."""

from __future__ import annotations

import numpy as np
import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.grid import TILE

_MASKED = np.float32(-1e30)
"""Added to the scores of later positions. With minus infinity, a row or chunk that is all masked would give NaN."""


def causal_mask(
    positions: ttnn.Tensor, sequences: int, heads: int, tokens: int, length: int, dtype: ttnn.DataType
) -> ttnn.Tensor:
    """Make the mask that is added to scores: 0 for positions up to the row's own, -1e30 for later ones.

    Args:
        positions: uint32 [1, n], row-major. The positions of each sequence's tokens, one sequence after another.
        sequences: Number of sequences.
        heads: Query heads that share a KV head. Attention sees R = heads * tokens rows of a sequence.
        tokens: Tokens of each sequence.
        length: Number of positions to mask, a multiple of 32.
        dtype: float32 or bfloat16.

    Returns:
        [sequences, 1, R, length], tiled.
    """
    device, count, rows = positions.device(), positions.shape[1], heads * tokens
    mask = ttnn.empty([sequences, 1, rows, length], dtype=dtype, layout=ttnn.TILE_LAYOUT, device=device)
    tile = Buffer(TILE * TILE * mask.element_size())
    launch(
        reader=Kernel(
            "causal_mask/causal_mask.cpp",
            tensors={"positions": positions, "mask": mask},
            constants={"element_bytes": mask.element_size(), "masked_word": _masked_word(mask.element_size())},
            arguments={
                "sequences": sequences,
                "row_tiles": -(-rows // TILE),
                "columns": length // TILE,
                "tokens": tokens,
                "positions": count,
            },
        ),
        buffers={
            "open": tile,
            "closed": tile,
            "mixed": tile,
            "positions": Buffer(count * positions.element_size()),
        },
    )
    return mask


def _masked_word(element_bytes: int) -> int:
    """Return 32 bits of masked elements: one float32, or two bfloat16, which are the upper halves of float32."""
    bits = int(_MASKED.view(np.uint32))
    return bits if element_bytes == 4 else bits >> 16 << 16 | bits >> 16
