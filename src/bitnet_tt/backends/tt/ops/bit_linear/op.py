"""One BitLinear with the norm before it and what follows it, in one program: for the rows of a decode step.

y = epilogue(quantise(norm(x)) @ weights). The weights stream from DRAM once, as codes of 2 bits; each core has a stream
of its own, which lies in one bank in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.weights import TernaryWeights
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float_bits, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE
from bitnet_tt.backends.tt.ops.common.streams import stream_reader, ternary_buffer
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, FLOAT32_BYTES, TILE
from bitnet_tt.backends.tt.planning.streams import Streams


def bit_linear(
    x: Strips,
    norm: Norm | None,
    weights: TernaryWeights,
    *,
    residual: Strips | None = None,
    residual_begin: int = 0,
    activation: str | None = None,
) -> Strips:
    """Run one BitLinear.

    Args:
        x: Rows, as many as one page of strips has.
        norm: The norm before the quantiser, or None.
        weights: The matrices. Their outputs stand side by side in the result.
        residual: Rows that are added to the result.
        residual_begin: Their column that belongs to the first one of the result, a multiple of 32.
        activation: `relu2` or `silu`: the matrices are gate and up, and the result is activation(gate) * up.

    Returns:
        float32, in the memory of x.
    """
    streams, device = weights.streams, x.tensor.device()
    width = streams.result_tiles
    result = Strips.empty(device, x.rows, width * TILE, x.tensor.memory_config(), x.lines)
    pages = -(-x.features * x.lines // PAGE)
    shape = {
        "lines": x.lines,
        "pages": pages,
        "depth": streams.depth,
        "columns": streams.columns,
        "passes": streams.passes,
    }
    launch(
        reader=stream_reader(weights, streams.tiles),
        writer=Kernel(
            "bit_linear/bit_linear_write.cpp",
            tensors={
                "x": x.tensor,
                "gain": None if norm is None else norm.gain,
                "residual": None if residual is None else residual.tensor,
                "result": result.tensor,
            },
            constants=shape
            | {
                "width": width,
                "gates": activation is not None,
                "adds": residual is not None,
            },
            arguments=_scale_arguments(weights) | {"residual_begin": residual_begin},
            tables=weights.tables,
        ),
        compute=Kernel(
            "bit_linear/bit_linear_compute.cpp",
            constants=shape
            | {
                "adds": residual is not None,
                "gates": activation is not None,
                "silu": activation == "silu",
                "normalizes": norm is not None,
                "have_exponents": streams.have_exponents,
                "inverse_width_bits": float_bits(1 / x.features),
                "eps_bits": float_bits(0.0 if norm is None else norm.eps),
            },
            tables=weights.tables,
        ),
        buffers=_buffers(streams, pages, x.lines, adds=residual is not None),
        whole_dest=True,
        integer_products=True,
    )
    return result


def _buffers(streams: Streams, pages: int, lines: int, *, adds: bool) -> dict[str, Buffer | None]:
    page = PAGE * FLOAT32_BYTES
    # A page of rows belongs to a part of a page of gain. The kernel copies a whole one from there on.
    gain = Buffer(page // lines, pages + lines - 1, ttnn.float32)
    tiles = Buffer(
        lines * TILE * BFLOAT16_BYTES,
        pages * PAGE // (lines * TILE),
        ttnn.bfloat16,
        tile_rows=lines,
        same_memory_as="integers",
    )
    return {
        "row": Buffer(page, pages, ttnn.float32),
        "gain": gain,
        "stats": Buffer(page, 1, ttnn.float32),
        "integers": Buffer(PAGE * BFLOAT16_BYTES, pages, ttnn.bfloat16),
        "tiles": tiles,
        "weights": ternary_buffer(streams),
        "scales": Buffer(page, streams.passes, ttnn.float32),
        "residual": Buffer(page, streams.passes, ttnn.float32) if adds else None,
        "result": Buffer(lines * TILE * FLOAT32_BYTES, 2 * streams.results, ttnn.float32, tile_rows=lines),
    }


def _scale_arguments(weights: TernaryWeights) -> dict[str, int]:
    """Return the scales of up to three matrices, and the tiles of a row where the second and the third begin."""
    first, second, third = (*weights.scales, 0.0, 0.0)[:3]
    starts: Sequence[int] = [*np.cumsum(weights.widths) // TILE, weights.streams.result_tiles]
    return {
        "first_scale_bits": float_bits(first),
        "second_scale_bits": float_bits(second),
        "third_scale_bits": float_bits(third),
        "second": int(starts[0]),
        "third": int(starts[1]),
    }
