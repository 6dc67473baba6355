"""Ternary weights as streams of 2-bit codes: the tensor, and the kernel that reads it."""

from __future__ import annotations

from dataclasses import dataclass

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel
from bitnet_tt.backends.tt.planning.grid import TERNARY_TILE_BYTES
from bitnet_tt.backends.tt.planning.streams import Streams


@dataclass(frozen=True, slots=True)
class StreamedWeights:
    """Ternary matrices that read the same input, on the card.

    Attributes:
        tensor: uint32 [cores, bytes of a core's stream / 4], row-major.
        streams: How the matrices are dealt out to the cores.
        scales: The factor of each matrix's outputs: weight scale / 127.
        widths: Outputs of each matrix.
    """

    tensor: ttnn.Tensor
    streams: Streams
    scales: tuple[float, ...]
    widths: tuple[int, ...]


def stream_reader(weights: StreamedWeights) -> Kernel:
    """Return the kernel that brings each core its stream."""
    return Kernel(
        "common/stream_read.cpp",
        tensors={"weights": weights.tensor},
        constants={"cores": weights.streams.cores, "tiles": weights.streams.tiles},
    )


def weight_buffer(streams: Streams) -> Buffer:
    """Return the buffer of a core's stream. bfp4 stands for the format that ttnn has no name for, see ternary.hpp."""
    return Buffer(TERNARY_TILE_BYTES, streams.tiles, ttnn.bfloat4_b)
