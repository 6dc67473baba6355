"""The kernel that brings each core its stream of ternary weights, and its buffer."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.device.weights import StreamedWeights
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel
from bitnet_tt.backends.tt.planning.streams import Streams


def stream_reader(weights: StreamedWeights) -> Kernel:
    """Return the kernel that brings each core its stream."""
    return Kernel(
        "common/stream_read.cpp",
        tensors={"weights": weights.tensor},
        constants={"tiles": weights.streams.tiles, "tile_bytes": weights.streams.tile_bytes},
        tables=weights.tables,
    )


def weight_buffer(streams: Streams) -> Buffer:
    """Return the buffer of a core's stream. bfp4 stands for the format that ttnn has no name for, see ternary.hpp."""
    return Buffer(streams.tile_bytes, streams.tiles, ttnn.bfloat4_b)
