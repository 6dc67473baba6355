"""From the product of q, k and v to heads: scaled, rotated, q laid out for attention, k and v in their cache slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float32_compute, launch
from bitnet_tt.backends.tt.ops.norm_quantize.op import PAGE, IntegerProduct
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.rope import rope_tables

_FIRST, _SECOND, _SCALES, _FACTOR, _COSINES, _SINES, _RESULT, _PLACES = 0, 1, 2, 3, 6, 7, 16, 19
"""Circular buffers, as in tile.hpp."""


@dataclass(frozen=True, slots=True)
class Angles:
    """Cosines and sines of every position, float32 [context, head_dim], row-major, halves alike.

    Attributes:
        cosines: Of the half-split form.
        signed_sines: Likewise, the first half negated.
    """

    cosines: ttnn.Tensor
    signed_sines: ttnn.Tensor

    @classmethod
    def load(cls, card: Card, plan: Plan) -> Angles:
        """Put them on the card."""
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
    """Write k and v to the cache.

    Args:
        product: Of the first sequences * tokens rows with q, k and v side by side.
        scales: float32 [1, n], row-major, of each of its columns; n a multiple of 1024.
        angles: Of all positions.
        inputs: The rows' positions and slots.
        caches: Keys and values, float32 or bfloat16 [blocks, kv_heads, 32, head_dim], tiled.
        plan: The shapes.
        sequences: How many.
        tokens: Rows of each.

    Returns:
        q [sequences, kv_heads, R, head_dim] of the cache's dtype, tiled: query heads that share a key/value head are
        rows of one matrix, so that its keys are read once. R = query heads of it * tokens.
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
    read = Kernel(
        "split_heads/read.cpp",
        tensors=[
            sums,
            sums if product.largest is None else product.largest,
            scales,
            angles.cosines,
            angles.signed_sines,
            inputs.positions,
        ],
        counts=[rows],
        sizes=[product.largest is not None, width, pages, width - config.kv_features // TILE, columns],
        config=ttnn.ReaderConfigDescriptor(),
    )
    write = Kernel(
        "split_heads/write.cpp",
        tensors=[q, keys, values, inputs.slots],
        counts=[rows, tokens],
        sizes=[q.element_size(), config.num_key_value_heads, config.queries_per_kv_head, columns, pages],
        config=ttnn.WriterConfigDescriptor(),
    )
    sources = (_FIRST, _SECOND, _SCALES, _COSINES, _SINES)
    compute = Kernel("split_heads/compute.cpp", [], [rows], [pages], float32_compute((*sources, _FACTOR)))
    buffers = dict.fromkeys(sources, Buffer(PAGE * 4, pages, ttnn.float32))
    buffers |= {
        _FACTOR: Buffer(PAGE * 4, 1, ttnn.float32),
        _RESULT: Buffer(PAGE * q.element_size(), pages, q.dtype),
        _PLACES: Buffer(TILE * 4),
    }
    launch([read, write, compute], buffers, [q, keys, values])
    return q
