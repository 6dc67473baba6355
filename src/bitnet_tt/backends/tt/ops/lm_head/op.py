"""The final norm, the lm_head and the search for the largest logits, in one program.

The weights stream from DRAM once. Each core computes a part of the vocabulary and finds the largest logits there,
exactly: of equal logits, the lowest ids first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ttnn

from bitnet_tt.backends.tt.device.weights import StreamedWeights
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float_bits, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE
from bitnet_tt.backends.tt.ops.common.streams import stream_reader
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP8_TILE_BYTES, FLOAT32_BYTES, TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.plan import HeadOutput
from bitnet_tt.backends.tt.step.candidates import NO_TOKEN


def lm_head(
    x: Strips | ttnn.Tensor,
    norm: Norm | None,
    weights: StreamedWeights,
    output: HeadOutput,
    *,
    rows: int,
    vocab_size: int,
    first_token: int = 0,
    logits: ttnn.Tensor | None = None,
) -> tuple[ttnn.Tensor | None, ttnn.Tensor | None]:
    """Compute logits.

    The matrix engine takes the rows in float32 if the weights are bfloat16, and in bfloat16 if they are bfp8.

    Args:
        x: Hidden states in strips, as many rows as a page has; or one tile of rows, [1, 1, 32, hidden], normalised and
            in the dtype of the matrix engine.
        norm: The norm of rows in strips; None for a tile of rows.
        weights: The lm_head.
        output: What to leave for the host.
        rows: The host needs only the first `rows` rows.
        vocab_size: Columns of the logits.
        first_token: The token id of the first column.
        logits: Takes the logits, if the output has whole rows; see `empty_logits`. None makes a new tensor.

    Returns:
        The logits, see `empty_logits`, or None. Columns from `vocab_size` on have no meaning. And the largest logits or
        None: uint32 [parts, rows * count * 2], row-major, pairs (bits of a logit, token id) for each part of the
        vocabulary. A part with fewer logits than `count` ends with pairs whose token id is `NO_TOKEN`.
    """
    streams, device = weights.streams, weights.tensor.device()
    count = output.top_count or 1
    if not output.whole_rows:
        logits = None
    elif logits is None:
        logits = empty_logits(weights, rows)
    top = None if output.top_count is None else _results(device, streams.cores, rows * count * 2, ttnn.uint32)
    lines = x.lines if isinstance(x, Strips) else 1
    tile_rows = x.lines if isinstance(x, Strips) else TILE
    in_bfp8 = streams.tile_bytes == BFP8_TILE_BYTES
    dtype, element_bytes = (ttnn.bfloat16, BFLOAT16_BYTES) if in_bfp8 else (ttnn.float32, FLOAT32_BYTES)
    pages = -(-streams.depth * lines // TILE)  # of 1024 elements
    shape = {
        "lines": lines,
        "pages": pages,
        "depth": streams.depth,
        "columns": streams.columns,
        "passes": streams.passes,
        "normalizes": norm is not None,
    }
    tiles = Buffer(tile_rows * TILE * element_bytes, streams.depth, dtype, tile_rows, multiplied=True)
    launch(
        reader=stream_reader(weights, streams.room_tiles),
        writer=Kernel(
            "lm_head/lm_head_write.cpp",
            tensors={
                "x": x.tensor if isinstance(x, Strips) else x,
                "gain": None if norm is None else norm.gain,
                "logits": logits,
                "top": top,
            },
            constants=shape
            | {
                "tile_rows": tile_rows,
                "x_tile_bytes": tiles.page_bytes,
                "rows": rows,
                "count": count,
                "row_bytes": streams.width * TILE * FLOAT32_BYTES,
                "top_bytes": rows * count * 2 * UINT32_BYTES,
                "vocab_size": vocab_size,
                "no_token": NO_TOKEN,
            },
            arguments={"first_token": first_token},
            tables=weights.tables,
        ),
        compute=Kernel(
            "lm_head/lm_head_compute.cpp",
            constants=shape
            | {
                "inverse_width_bits": float_bits(1 / (streams.depth * TILE)),
                "eps_bits": float_bits(0.0 if norm is None else norm.eps),
            },
            tables=weights.tables,
        ),
        buffers=_row_buffers(tiles, pages, lines, normalizes=norm is not None)
        | {
            "weights": Buffer(
                streams.tile_bytes, streams.room_tiles, ttnn.bfloat8_b if in_bfp8 else ttnn.bfloat16, multiplied=True
            ),
            "result": Buffer(tile_rows * TILE * FLOAT32_BYTES, 2 * streams.columns, ttnn.float32, tile_rows),
            "candidates": Buffer(rows * count * 2 * UINT32_BYTES),
        },
    )
    return logits, top


def _row_buffers(tiles: Buffer, pages: int, lines: int, *, normalizes: bool) -> dict[str, Buffer | None]:
    """Return the buffers of the rows. In strips, they are normalised as pages and then multiplied as tiles."""
    if not normalizes:
        return {"row": None, "gain": None, "stats": None, "normalized": None, "tiles": tiles}
    page = PAGE * FLOAT32_BYTES
    return {
        "row": Buffer(page, pages, ttnn.float32),
        # A page of rows belongs to a part of a page of gain. The kernel copies a whole one from there on.
        "gain": Buffer(page // lines, pages + lines - 1, ttnn.float32),
        "stats": Buffer(page, 1, ttnn.float32),
        "normalized": Buffer(PAGE // (lines * TILE) * tiles.page_bytes, pages, tiles.dtype),
        "tiles": replace(tiles, pages=pages * PAGE // (lines * TILE), same_memory_as="normalized"),
    }


def empty_logits(weights: StreamedWeights, rows: int) -> ttnn.Tensor:
    """Make a tensor for logits, float32 [rows, width], row-major. The width is that of all streams together."""
    return _results(weights.tensor.device(), rows, weights.streams.width * TILE, ttnn.float32)


def _results(device: Any, rows: int, columns: int, dtype: ttnn.DataType) -> ttnn.Tensor:
    return ttnn.empty([rows, columns], dtype=dtype, layout=ttnn.ROW_MAJOR_LAYOUT, device=device)
