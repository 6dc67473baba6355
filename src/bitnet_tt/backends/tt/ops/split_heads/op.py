"""Split the product of q, k and v into heads: scale and rotate them, and write k and v to the cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE, IntegerProduct
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
    product: IntegerProduct,
    scales: ttnn.Tensor,
    angles: Angles,
    inputs: Inputs,
    caches: tuple[ttnn.Tensor, ttnn.Tensor],
    plan: Plan,
    *,
    sequences: int,
    tokens: int,
) -> ttnn.Tensor:
    """Scale q, k and v, rotate q and k to their positions, write k and v to their cache slots, and return q.

    Args:
        product: q, k and v side by side. Its first sequences * tokens rows are used.
        scales: float32 [1, n], row-major: the factor of each column of the product. n is a multiple of 1024.
        angles: The rotary tables.
        inputs: The positions and slots of the rows.
        caches: Keys and values, float32 or bfloat16 [blocks, kv_heads, 32, head_dim], tiled.
        plan: The model's shape.
        sequences: Number of sequences.
        tokens: Rows of each sequence.

    Returns:
        q [sequences, kv_heads, R, head_dim] of the cache's dtype, tiled. R is the number of query heads that share a
        KV head, times tokens: these are rows of one matrix, so attention reads their keys once.
    """
    config, sums, rows = plan.config, product.sums, sequences * tokens
    keys, values = caches
    width, columns = sums.shape[3] // TILE, config.head_dim // TILE
    pages = scales.shape[1] // PAGE
    q = ttnn.empty(
        [sequences, config.num_key_value_heads, config.queries_per_kv_head * tokens, config.head_dim],
        dtype=keys.dtype,
        layout=ttnn.TILE_LAYOUT,
        device=sums.device(),
        memory_config=sums.memory_config(),
    )
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
                "rotated": width - config.kv_features // TILE,
                "columns": columns,
            },
            arguments={"rows": rows},
        ),
        writer=Kernel(
            "split_heads/split_heads_write.cpp",
            tensors={"slots": inputs.slots, "q": q, "keys": keys, "values": values},
            constants={
                "element_bytes": q.element_size(),
                "kv_heads": config.num_key_value_heads,
                "group": config.queries_per_kv_head,
                "columns": columns,
                "pages": pages,
                "skip": SKIP,
            },
            arguments={"rows": rows, "tokens": tokens},
        ),
        compute=Kernel("split_heads/split_heads_compute.cpp", constants={"pages": pages}, arguments={"rows": rows}),
        buffers={
            "row": row,
            "swapped": row,
            "scales": row,
            "factor": Buffer(PAGE * FLOAT32_BYTES, 1, ttnn.float32),
            "cosines": row,
            "sines": row,
            "result": Buffer(PAGE * q.element_size(), pages, q.dtype),
            "slot": Buffer(TILE * UINT32_BYTES),
        },
    )
    return q
