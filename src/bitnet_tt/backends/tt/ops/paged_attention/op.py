"""Attention of the rows of a step over the paged KV cache, in float32, in one program.

The matrix engine keeps about 11 bits of a float32 product. So everything is computed on the vector unit. Keys and
values are read straight from the blocks of the cache. For few rows, the program also rotates the heads and writes the
rows' keys and values to the cache.
"""

from __future__ import annotations

from typing import Any

import ttnn

from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float_bits, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.attention import PART_BLOCKS, heads_together, result_bytes, rows_together
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs


def paged_attention(
    heads: Strips,
    caches: tuple[ttnn.Tensor, ttnn.Tensor],
    inputs: Inputs,
    plan: Plan,
    *,
    sequences: int,
    tokens: int,
    blocks: int,
    angles: Angles | None = None,
) -> Strips:
    """Attend: softmax(q k^T / sqrt(head_dim)) v over the positions up to each row's own.

    Args:
        heads: Rotated queries, [sequences * tokens or more, queries]. With `angles`: q, k and v side by side,
            scaled, not rotated.
        caches: Keys and values, float32 [blocks, kv_heads, 32, head_dim], tiled. They hold finite numbers. With
            `angles`, the rows' own keys and values are written to their slots; otherwise they are there already.
        inputs: The positions of the rows, which do not fall within a sequence, the block table, and the slots.
        plan: The shape of the model, and the heads of the card.
        sequences: Number of sequences.
        tokens: Rows of each sequence. With `angles`: 1.
        blocks: Blocks of each sequence in the table, a multiple of `PART_BLOCKS`.
        angles: The rotary tables.

    Returns:
        Rows [heads.rows, queries], in the memory of the heads, with as many lines.
    """
    config, (keys, values), rows = plan.config, caches, sequences * tokens
    queries, kv_heads = len(plan.own.queries), len(plan.own.keys) // config.head_dim
    group, columns = heads_together(config), config.head_dim // TILE
    groups, most_parts = queries // config.head_dim // group, blocks // PART_BLOCKS
    splits, rotates = tokens == 1, angles is not None
    together = rows_together(tokens, rows * groups, plan.grid)
    device, memory = heads.tensor.device(), heads.tensor.memory_config()
    attended = Strips.empty(device, heads.rows, queries, memory, heads.lines)
    parts = _empty_parts(device, rows * groups * most_parts, result_bytes(config)) if splits else None
    page = PAGE * FLOAT32_BYTES
    one, two, four = (Buffer(page, pages, ttnn.float32) for pages in (1, 2, 4))
    tiles = Buffer(page, PART_BLOCKS * columns, ttnn.float32)
    shape = {"splits": splits, "groups": groups, "heads": group, "columns": columns}
    work = {"rows": rows, "together": together, "most_parts": most_parts}
    launch(
        reader=Kernel(
            "paged_attention/paged_attention_read.cpp",
            tensors={
                "heads": heads.tensor,
                "cosines": angles and angles.cosines,
                "sines": angles and angles.signed_sines,
                "keys": keys,
                "values": values,
                "positions": inputs.positions,
                "slots": inputs.slots,
                "table": inputs.table,
                "parts": parts,
            },
            constants=shape
            | {
                "lines": heads.lines,
                "features": heads.features,
                "groups_each": config.queries_per_kv_head // group,
                "kv_heads": kv_heads,
                "skip": SKIP,
            },
            arguments=work
            | {
                "tokens": tokens,
                "positions": inputs.positions.shape[1],
                "table_columns": inputs.table.shape[1],
            },
        ),
        writer=Kernel(
            "paged_attention/paged_attention_write.cpp",
            tensors={"attended": attended.tensor, "parts": parts},
            constants=shape | {"lines": heads.lines, "features": queries},
            arguments=work,
        ),
        compute=Kernel(
            "paged_attention/paged_attention_compute.cpp",
            constants=shape | {"rotates": rotates, "scale_bits": float_bits(config.head_dim**-0.5)},
            arguments=work,
        ),
        buffers={
            "query": two if rotates else one,
            "swapped": two if rotates else None,
            "cosines": one if rotates else None,
            "sines": one if rotates else None,
            "key": one if rotates else None,
            "value": Buffer(config.head_dim * FLOAT32_BYTES) if rotates else None,
            "open": one,
            "keys": tiles,
            "values": tiles,
            "partial": two,
            "returned": four if splits else None,
            "so_far": None if splits else Buffer(page, 2 * together, ttnn.float32),
            "result": one,
            "positions": Buffer(inputs.positions.shape[1] * UINT32_BYTES),
            "slots": Buffer(inputs.slots.shape[1] * UINT32_BYTES) if rotates else None,
            "blocks": Buffer(inputs.table.shape[1] * UINT32_BYTES),
        },
        semaphores=("arrived",),
        whole_dest=True,
    )
    return attended


def _empty_parts(device: Any, count: int, page_bytes: int) -> ttnn.Tensor:
    """Allocate room for the results of all parts of a decode step, one page each, in DRAM."""
    return ttnn.empty(
        [count, page_bytes // FLOAT32_BYTES], dtype=ttnn.float32, layout=ttnn.ROW_MAJOR_LAYOUT, device=device
    )
