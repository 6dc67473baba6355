"""The lm_head as tiles that stream into the cores, in bfloat16 or bfp8. `Streams` has their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.tile_order import transposed_tiles, words
from bitnet_tt.backends.tt.planning.grid import BFP8_TILE_BYTES, TILE
from bitnet_tt.backends.tt.planning.streams import Streams

_BLOCK = 16
"""Elements that share an exponent in bfp8: a row of a face."""

_VANISHED = np.uint16(8)
"""With an exponent so much smaller than the largest, a number rounds to zero."""


def _elements() -> NDArray[np.uint8]:
    """Return the element for each difference of exponents, sign, and 7 bits that bfloat16 stores of 8."""
    scaled = (128 + np.arange(128)) / 2.0 ** np.arange(1, _VANISHED + 2)[:, None]
    magnitudes = np.minimum(np.rint(scaled), 127).astype(np.uint8)
    negative = np.where(magnitudes > 0, magnitudes | np.uint8(0x80), magnitudes)
    elements: NDArray[np.uint8] = np.stack([magnitudes, negative], axis=1).ravel()
    return elements


_ELEMENTS = _elements()


def head_streams(lm_head: NDArray[np.uint16], streams: Streams) -> NDArray[np.uint32]:
    """Lay the lm_head out as the streams of the cores.

    Args:
        lm_head: bfloat16 bits [vocab, hidden].
        streams: How it is dealt out. Columns beyond the vocabulary are zeros.

    Returns:
        uint32 [cores, words of a stream].
    """
    hidden = lm_head.shape[1]
    width = streams.passes * streams.columns * TILE  # rows of the lm_head that a core has
    result = np.empty((streams.cores, streams.bytes // 4), np.uint32)
    for core, stream in enumerate(result):  # one at a time: all together would take several times the lm_head's memory
        part = lm_head[core * width : (core + 1) * width]
        tiles = transposed_tiles(np.pad(part, ((0, width - len(part)), (0, 0))))
        tiles = tiles.reshape(streams.passes, streams.columns, hidden // TILE, TILE * TILE).transpose(0, 2, 1, 3)
        stream[:] = words(bfp8_tiles(tiles) if streams.tile_bytes == BFP8_TILE_BYTES else tiles)
    return result


def bfp8_tiles(tiles: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round tiles to bfp8 as TT-NN does: to the nearest number, half to even.

    In a block of 16 elements, the largest exponent is that of all. An element is its sign and 7 bits: the unit of the
    highest one is 2 to the power of this exponent.

    Args:
        tiles: bfloat16 bits [..., 1024].

    Returns:
        [..., 1088 bytes]: 64 exponents, then 1024 elements.
    """
    bits = tiles.reshape(*tiles.shape[:-1], -1, _BLOCK)
    exponents = bits >> 7 & 0xFF
    largest = exponents.max(axis=-1, keepdims=True)
    shifts = np.where(exponents > 0, np.minimum(largest - exponents, _VANISHED), _VANISHED)  # 0 has no exponent
    elements = _ELEMENTS[shifts << 8 | bits >> 8 & 0x80 | bits & 0x7F].reshape(tiles.shape)
    return np.concatenate([largest[..., 0].astype(np.uint8), elements], axis=-1)
