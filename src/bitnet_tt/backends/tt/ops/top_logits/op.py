"""The greatest logits of a row, found on the device by a kernel of our own: exact, the lowest of equal token ids first.

The stock operations need bfloat16, or another layout, or promise no order among equals.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import move
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import Plan

_READ_BYTES = 1 << 16  # of L1, for what a core reads at once


def top_logits(logits: ttnn.Tensor, rows: int, count: int, plan: Plan) -> ttnn.Tensor:
    """Find the greatest logits of some rows in each part of the vocabulary.

    Args:
        logits: float32 [1, 1, 32, vocab], tiled.
        rows: Only of the first so many rows.
        count: How many in each part.
        plan: What the parts are.

    Returns:
        uint32 [parts, rows * count * 2], row-major: pairs of a logit's bits and its token id.
    """
    parts, tiles = plan.vocabulary_parts
    result = ttnn.empty(
        [parts, rows * count * 2], dtype=ttnn.uint32, layout=ttnn.ROW_MAJOR_LAYOUT, device=logits.device()
    )
    row_bytes = TILE * logits.element_size()
    batch = min(tiles, _READ_BYTES // (rows * row_bytes))
    page = rows * count * 2 * result.element_size()
    move(
        "top_logits/kernel.cpp",
        tensors=[logits, result],
        counts=[rows, count, plan.config.vocab_size],
        sizes=[tiles, batch, page],
        buffers=[rows * batch * row_bytes, page],
    )
    return result
