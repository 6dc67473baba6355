"""Split the product of q, k and v into heads: scale and rotate them, and write k and v to the cache."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE, IntegerProduct
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs


def split_heads(
    product: IntegerProduct,
    scales: ttnn.Tensor,
    angles: Angles,
    inputs: Inputs,
    caches: tuple[ttnn.Tensor, ttnn.Tensor],
    plan: Plan,
    *,
    rows: int,
) -> Strips:
    """Scale q, k and v, rotate q and k to their positions, write k and v to their cache slots, and return q.

    Args:
        product: q, k and v side by side.
        scales: float32 [1, n], row-major: the factor of each column of the product. n is a multiple of 1024.
        angles: The rotary tables.
        inputs: The positions and slots of the rows.
        caches: Keys and values, float32 [blocks, kv_heads, 32, head_dim], tiled.
        plan: The shape of the model, and the heads of the card.
        rows: The first rows of the product, which are used.

    Returns:
        q [rows, features of the card's queries], in the product's memory.
    """
    config, (keys, values), sums = plan.config, caches, product.sums
    queries, keys_width = len(plan.own.queries), len(plan.own.keys)
    width = (queries + 2 * keys_width) // TILE
    pages = -(-width * TILE // PAGE)
    q = Strips.empty(sums.device(), rows, queries, sums.memory_config())
    row = Buffer(PAGE * FLOAT32_BYTES, pages, ttnn.float32)
    launch(
        reader=Kernel(
            "split_heads/split_heads_read.cpp",
            tensors={
                "product": sums,
                "largest": product.largest,
                "scales": scales,
                "cosines": angles.cosines,
                "sines": angles.signed_sines,
                "positions": inputs.positions,
            },
            constants={
                "width": width,
                "pages": pages,
                "rotated_heads": (queries + keys_width) // config.head_dim,
                "head_dim": config.head_dim,
            },
            arguments={"rows": rows},
        ),
        writer=Kernel(
            "split_heads/split_heads_write.cpp",
            tensors={"slots": inputs.slots, "q": q.tensor, "keys": keys, "values": values},
            constants={
                "query_features": queries,
                "width": keys_width // TILE,
                "pages": pages,
                "skip": SKIP,
            },
            arguments={"rows": rows},
        ),
        compute=Kernel("split_heads/split_heads_compute.cpp", constants={"pages": pages}, arguments={"rows": rows}),
        buffers={
            "row": row,
            "swapped": row,
            "scales": row,
            "factor": Buffer(PAGE * FLOAT32_BYTES, 1, ttnn.float32),
            "cosines": row,
            "sines": row,
            "rotated": row,
            "element": Buffer(TILE * UINT32_BYTES),
            "slot": Buffer(TILE * UINT32_BYTES),
        },
    )
    return q
