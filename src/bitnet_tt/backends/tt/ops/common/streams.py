"""The kernel that brings each core its stream of weights, and the buffer for it."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.device.weights import StreamedWeights
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel
from bitnet_tt.backends.tt.planning.streams import Streams


def stream_reader(weights: StreamedWeights, room_tiles: int) -> Kernel:
    """Return the kernel that brings each core its stream.

    Args:
        weights: The weights.
        room_tiles: Tiles in the buffer: the whole stream, or `Streams.room_tiles` if the compute kernel frees tiles.
    """
    streams = weights.streams
    return Kernel(
        "common/stream_read.cpp",
        tensors={"weights": weights.tensor},
        constants={
            "tiles": streams.tiles,
            "tile_bytes": streams.tile_bytes,
            "packet_tiles": streams.packet_tiles,
            "room_tiles": room_tiles,
        },
        tables=weights.tables,
    )


def ternary_buffer(streams: Streams) -> Buffer:
    """Return the buffer of a core's whole stream. bfp4 stands for a format that ttnn has no name for, see ternary.hpp.

    To free tiles, the compute kernel would have to wait for the unpacker. That takes time where tiles are so small.
    """
    return Buffer(streams.tile_bytes, streams.tiles, ttnn.bfloat4_b)
