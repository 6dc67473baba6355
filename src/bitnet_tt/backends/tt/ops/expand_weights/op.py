"""Ternary weights as a tensor for TT-NN's matrix product, for more rows than `bit_linear` takes.

The matrix is made for one product and freed after it. So the weights stay on the card only once.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.device.weights import TernaryWeights
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.ops.common.streams import stream_reader, ternary_buffer
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP4_TILE_BYTES, TILE


def expand_weights(weights: TernaryWeights) -> ttnn.Tensor:
    """Return the matrices side by side and transposed, without their scales: bfp4 [1, 1, in, sum of all out]."""
    streams = weights.streams
    shape = [1, 1, streams.depth * TILE, sum(weights.widths)]
    device = weights.tensor.device()
    matrix = ttnn.empty(shape, dtype=ttnn.bfloat4_b, layout=ttnn.TILE_LAYOUT, device=device)
    launch(
        reader=stream_reader(weights, streams.tiles),
        writer=Kernel(
            "expand_weights/expand_weights_write.cpp",
            tensors={"result": matrix},
            constants={
                "depth": streams.depth,
                "columns": streams.columns,
                "passes": streams.passes,
                "results": streams.results,
                "width": streams.result_tiles,
            },
            tables=weights.tables,
        ),
        compute=Kernel(
            "expand_weights/expand_weights_compute.cpp",
            constants={
                "steps": streams.depth * streams.passes,
                "columns": streams.columns,
                "have_exponents": streams.have_exponents,
            },
            tables=weights.tables,
        ),
        buffers={
            "identity": Buffer(TILE * TILE * BFLOAT16_BYTES, 1, ttnn.bfloat16),
            "weights": ternary_buffer(streams),
            "result": Buffer(BFP4_TILE_BYTES, 2 * streams.columns, ttnn.bfloat4_b),
        },
        whole_dest=True,
        integer_products=True,
    )
    return matrix
