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
        stream_of_core: For each core its stream, see `place_streams`.
        scales: The factor of each matrix's outputs: weight scale / 127.
        widths: Outputs of each matrix.
    """

    tensor: ttnn.Tensor
    streams: Streams
    stream_of_core: tuple[int, ...]
    scales: tuple[float, ...]
    widths: tuple[int, ...]

    @property
    def tables(self) -> dict[str, tuple[int, ...]]:
        """The table that every kernel needs which asks for its stream, see stream.hpp."""
        return {"STREAM_OF_CORE": self.stream_of_core}


def stream_reader(weights: StreamedWeights) -> Kernel:
    """Return the kernel that brings each core its stream."""
    return Kernel(
        "common/stream_read.cpp",
        tensors={"weights": weights.tensor},
        constants={"tiles": weights.streams.tiles},
        tables=weights.tables,
    )


def weight_buffer(streams: Streams) -> Buffer:
    """Return the buffer of a core's stream. bfp4 stands for the format that ttnn has no name for, see ternary.hpp."""
    return Buffer(TERNARY_TILE_BYTES, streams.tiles, ttnn.bfloat4_b)
