"""Ternary matrices as tiles that stream into the cores: see ternary.hpp for their form, `Streams` for their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.tile_order import transposed_tiles, words
from bitnet_tt.backends.tt.planning.streams import Streams
from bitnet_tt.weights import TernaryMatrix

_EXPONENTS = np.full(64, 127, np.uint8)
"""The exponents that a tile of bfp2 begins with, one for each 16 elements: 127 stands for 2 to the power of 0."""

_CODES = np.array([0b11, 0b00, 0b01, 0b00], np.uint8)
"""The card's code (see ternary.hpp) for each 2-bit code of `TernaryMatrix.packed`; the fourth is not used."""


def ternary_streams(
    matrices: Sequence[TernaryMatrix], streams: Streams, outputs: Sequence[range] | None = None
) -> NDArray[np.uint32]:
    """Lay ternary matrices out as the streams of the cores.

    Args:
        matrices: Matrices [out, in] with the same `in`. With a gate: gate and up.
        streams: How they are dealt out.
        outputs: For each matrix, the outputs that are dealt out, in whole tiles. None means all.

    Returns:
        uint32 [cores, words of a stream].
    """
    outputs = outputs or [range(matrix.out_features) for matrix in matrices]
    # [column, depth, bytes of a tile]
    tiles = np.concatenate([_code_tiles(matrix, some) for matrix, some in zip(matrices, outputs, strict=True)])
    if streams.have_exponents:
        tiles = np.concatenate([np.broadcast_to(_EXPONENTS, (*tiles.shape[:2], 64)), tiles], axis=2)
    # [gate or up, column, ...], padded with zeros to the columns of all cores; without a gate, the first axis is 1.
    halves = tiles.reshape(-1, streams.result_tiles, *tiles.shape[1:])
    padding = streams.cores * streams.passes * streams.results - streams.result_tiles
    halves = np.pad(halves, ((0, 0), (0, padding), (0, 0), (0, 0)))
    parts = halves.reshape(len(halves), streams.cores, streams.passes, streams.results, *tiles.shape[1:])
    # to [core, pass, depth, gate or up, column, bytes]
    return words(parts.transpose(1, 2, 4, 0, 3, 5)).reshape(streams.cores, -1)


def _code_tiles(matrix: TernaryMatrix, outputs: range) -> NDArray[np.uint8]:
    """Return the tiles of outputs of a matrix transposed, [out / 32, in / 32, 256 bytes]; each byte has four codes."""
    codes = np.concatenate([_CODES[(matrix.packed >> shift) & 3] for shift in (0, 2, 4, 6)])  # [out, in]
    tiles = transposed_tiles(codes[outputs.start : outputs.stop])
    quads = tiles.reshape(*tiles.shape[:2], -1, 4)
    packed: NDArray[np.uint8] = quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    return packed
