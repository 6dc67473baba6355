"""Split the product of q, k and v into heads: scale and rotate them, and write k and v to the cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE, IntegerProduct
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.rope import rope_tables


@dataclass(frozen=True, slots=True)
class Angles:
    """The rotary tables of every position, float32 [context, head_dim], row-major.

    The half-split form of RoPE is x * cosines + swapped * signed_sines, where swapped is x with the halves of its
    head_dim elements exchanged.

    Attributes:
        cosines: The cosines of head_dim / 2 angles, twice.
        signed_sines: The sines of the same angles, twice, the first half negated.
    """

    cosines: ttnn.Tensor
    signed_sines: ttnn.Tensor

    @classmethod
    def load(cls, card: Card, plan: Plan) -> Angles:
        """Compute the tables up to the plan's context length and put them on the card."""
        cos, sin = rope_tables(plan.config, plan.context_length)
        return cls(
            card.rows(np.concatenate([cos, cos], axis=1), ttnn.float32),
            card.rows(np.concatenate([-sin, sin], axis=1), ttnn.float32),
        )


def split_heads(
    product: IntegerProduct | Strips,
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
        product: q, k and v side by side. Strips are scaled already.
        scales: float32 [1, n], row-major: the factor of each column of an integer product. n is a multiple of 1024.
        angles: The rotary tables.
        inputs: The positions and slots of the rows.
        caches: Keys and values, float32 [blocks, kv_heads, 32, head_dim], tiled.
        plan: The model's shape.
        rows: The first rows of the product, which are used.

    Returns:
        q [rows, query_features], in the product's memory.
    """
    config, (keys, values) = plan.config, caches
    whole = isinstance(product, IntegerProduct)
    tensor = product.sums if isinstance(product, IntegerProduct) else product.tensor
    width, columns = (config.query_features + 2 * config.kv_features) // TILE, config.head_dim // TILE
    pages = -(-width * TILE // PAGE)
    q = Strips.empty(tensor.device(), rows, config.query_features, tensor.memory_config())
    row = Buffer(PAGE * FLOAT32_BYTES, pages, ttnn.float32)
    launch(
        reader=Kernel(
            "split_heads/split_heads_read.cpp",
            tensors={
                "product": tensor,
                "largest": product.largest if isinstance(product, IntegerProduct) else None,
                "scales": scales if whole else None,
                "cosines": angles.cosines,
                "sines": angles.signed_sines,
                "positions": inputs.positions,
            },
            constants={
                "width": width,
                "pages": pages,
                "rotated": width - config.kv_features // TILE,
                "columns": columns,
                "lines": 1 if isinstance(product, IntegerProduct) else product.lines,
            },
            arguments={"rows": rows},
        ),
        writer=Kernel(
            "split_heads/split_heads_write.cpp",
            tensors={"slots": inputs.slots, "q": q.tensor, "keys": keys, "values": values},
            constants={
                "query_features": config.query_features,
                "width": config.kv_features // TILE,
                "pages": pages,
                "skip": SKIP,
            },
            arguments={"rows": rows},
        ),
        compute=Kernel(
            "split_heads/split_heads_compute.cpp",
            constants={"pages": pages, "scales": whole},
            arguments={"rows": rows},
        ),
        buffers={
            "row": row,
            "swapped": row,
            "scales": row if whole else None,
            "factor": Buffer(PAGE * FLOAT32_BYTES, 1, ttnn.float32) if whole else None,
            "cosines": row,
            "sines": row,
            "rotated": row,
            "element": Buffer(TILE * UINT32_BYTES),
            "slot": Buffer(TILE * UINT32_BYTES),
        },
    )
    return q
