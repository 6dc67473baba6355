"""Attention of the rows of a step over the paged KV cache, in float32, in one program.

The matrix engine keeps about 11 bits of a float32 product. So everything is computed on the vector unit. Keys and
values are read straight from the blocks of the cache.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float_bits, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.attention import (
    PART_BLOCKS,
    STATS_BYTES,
    heads_together,
    result_bytes,
    rows_together,
)
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.inputs import Inputs


def paged_attention(
    q: Strips,
    caches: tuple[ttnn.Tensor, ttnn.Tensor],
    inputs: Inputs,
    plan: Plan,
    *,
    sequences: int,
    tokens: int,
    blocks: int,
    lines: int = 1,
) -> Strips:
    """Attend: softmax(q k^T / sqrt(head_dim)) v over the positions up to each row's own.

    Args:
        q: Rotated queries, [sequences * tokens or more, query_features].
        caches: Keys and values, float32 [blocks, kv_heads, 32, head_dim], tiled. They hold finite numbers.
        inputs: The positions of the rows, which do not fall within a sequence, and the block table.
        plan: The model's shape.
        sequences: Number of sequences.
        tokens: Rows of each sequence.
        blocks: Blocks of each sequence in the table, a multiple of `PART_BLOCKS`.
        lines: Rows that share a page of the result.

    Returns:
        Rows in q's shape and memory.
    """
    config, (keys, values), rows = plan.config, caches, sequences * tokens
    heads, columns = heads_together(config), config.head_dim // TILE
    groups, most_parts = config.num_attention_heads // heads, blocks // PART_BLOCKS
    features, splits = heads * config.head_dim, tokens == 1
    together = rows_together(tokens, rows * groups, plan.grid)
    attended = Strips.empty(q.tensor.device(), q.rows, q.features, q.tensor.memory_config(), lines)
    results = _empty_results(q, rows * groups * most_parts, result_bytes(config)) if splits else None
    page = PAGE * FLOAT32_BYTES
    one, two = Buffer(page, 1, ttnn.float32), Buffer(page, 2, ttnn.float32)
    tiles = Buffer(page, PART_BLOCKS * columns, ttnn.float32)
    shape = {"splits": splits, "groups": groups}
    work = {"rows": rows, "together": together, "most_parts": most_parts}
    sizes = {"features": q.features, "group_features": features, "stats_bytes": heads * STATS_BYTES}
    launch(
        reader=Kernel(
            "paged_attention/paged_attention_read.cpp",
            tensors={
                "q": q.tensor,
                "keys": keys,
                "values": values,
                "positions": inputs.positions,
                "table": inputs.table,
                "results": results,
            },
            constants=shape
            | sizes
            | {
                "groups_each": config.queries_per_kv_head // heads,
                "kv_heads": config.num_key_value_heads,
                "columns": columns,
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
            tensors={"attended": attended.tensor, "results": results},
            constants=shape | sizes | {"lines": lines},
            arguments=work,
        ),
        compute=Kernel(
            "paged_attention/paged_attention_compute.cpp",
            constants=shape
            | {
                "heads": heads,
                "columns": columns,
                "scale_bits": float_bits(config.head_dim**-0.5),
            },
            arguments=work,
        ),
        buffers={
            "query": one,
            "open": one,
            "keys": tiles,
            "values": tiles,
            "partial": two,
            "returned": Buffer(page, 4, ttnn.float32) if splits else None,
            "so_far": Buffer(page, 2 * together, ttnn.float32),
            "result": one,
            "positions": Buffer(inputs.positions.shape[1] * inputs.positions.element_size()),
            "blocks": Buffer(inputs.table.shape[1] * inputs.table.element_size()),
        },
        semaphores=("arrived",),
        whole_dest=True,
    )
    return attended


def _empty_results(q: Strips, parts: int, page_bytes: int) -> ttnn.Tensor:
    """Allocate room for the results of all parts of a decode step, one page each, in DRAM."""
    return ttnn.empty(
        [parts, page_bytes // FLOAT32_BYTES],
        dtype=ttnn.float32,
        layout=ttnn.ROW_MAJOR_LAYOUT,
        device=q.tensor.device(),
    )
