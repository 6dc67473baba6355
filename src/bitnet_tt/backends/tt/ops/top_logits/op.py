"""Find the largest logits of each part of the vocabulary on the device, exactly: of equal logits, the lowest ids first.

The stock operations need bfloat16 or another layout, or promise no order among equal logits.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.candidates import NO_TOKEN

_BATCH_BYTES = 1 << 16
"""L1 for the logits that a core reads at once."""


def top_logits(logits: ttnn.Tensor, rows: int, count: int, plan: Plan) -> ttnn.Tensor:
    """Find the largest logits of the first rows in each part of the vocabulary.

    Args:
        logits: float32 [1, 1, 32, vocab], tiled.
        rows: Only the first `rows` rows are searched.
        count: Logits to find in each part.
        plan: The parts of the vocabulary.

    Returns:
        uint32 [parts, rows * count * 2], row-major: pairs (bits of a logit, token id). A part with fewer logits than
        `count` ends with pairs whose token id is `NO_TOKEN`.
    """
    parts, part_tiles = plan.vocabulary_parts
    result = ttnn.empty(
        [parts, rows * count * 2], dtype=ttnn.uint32, layout=ttnn.ROW_MAJOR_LAYOUT, device=logits.device()
    )
    row_bytes = TILE * logits.element_size()
    batch_tiles = min(part_tiles, _BATCH_BYTES // (rows * row_bytes))
    page_bytes = rows * count * 2 * result.element_size()
    launch(
        reader=Kernel(
            "top_logits/top_logits.cpp",
            tensors={"logits": logits, "result": result},
            constants={
                "part_tiles": part_tiles,
                "batch_tiles": batch_tiles,
                "page_bytes": page_bytes,
                "no_token": NO_TOKEN,
            },
            arguments={"rows": rows, "count": count, "vocab_size": plan.config.vocab_size},
        ),
        buffers={"batch": Buffer(rows * batch_tiles * row_bytes), "page": Buffer(page_bytes)},
    )
    return result
