"""Each core's stream of the lm_head has the rows of its part of the vocabulary, in bfloat16 or rounded to bfp8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.head_tiles import bfp8_tiles, head_streams
from bitnet_tt.backends.tt.planning.grid import BFP8_TILE_BYTES, SMALLEST_P150
from bitnet_tt.backends.tt.planning.streams import deal
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16

BFLOAT16_TILE_BYTES = 2048


def random_head(vocab: int, hidden: int) -> NDArray[np.uint16]:
    """Return bfloat16 bits of numbers of very different sizes, with zeros, subnormals and equal exponents."""
    random = np.random.default_rng(vocab)
    values = random.standard_normal((vocab, hidden)) * np.exp(random.uniform(-8, 8, (vocab, hidden)))
    values[random.uniform(size=values.shape) < 0.1] = 0
    values[:2] *= 1e-40
    values[2:6] = random.uniform(1, 2, (4, hidden))
    return float32_to_bfloat16(values.astype(np.float32))


def unpacked(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the numbers of tiles of bfp8 [..., 1088], [..., 1024]."""
    exponents, elements = np.split(tiles.astype(np.int64), [64], axis=-1)
    units = 2.0 ** (np.repeat(exponents, 16, axis=-1) - 127 - 6)
    return np.where(elements & 0x80, -1, 1) * (elements & 0x7F) * units


def test_bfp8_takes_the_nearest_number_and_half_to_even() -> None:
    bits = random_head(1024, 64).reshape(-1, 1024)
    values = bfloat16_to_float32(bits).astype(np.float64)
    values[np.abs(values) < 2.0**-126] = 0
    blocks = values.reshape(-1, 16)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    units = 2.0 ** (np.where(largest > 0, np.frexp(largest)[1] - 1, -127) - 6)
    expected = np.clip(np.rint(blocks / units), -127, 127) * units
    found = unpacked(bfp8_tiles(bits))
    np.testing.assert_array_equal(found.reshape(-1, 16), expected)
    assert not np.signbit(found[found == 0]).any()


@pytest.mark.parametrize("tile_bytes", [BFLOAT16_TILE_BYTES, BFP8_TILE_BYTES])
@pytest.mark.parametrize(("vocab", "cores"), [(992, 31), (1000, 7), (1000, 2), (30, 4)])
def test_each_core_has_the_rows_of_its_part(vocab: int, cores: int, tile_bytes: int) -> None:
    head = random_head(vocab, 96)
    grid = replace(SMALLEST_P150, x=cores, y=1)
    streams = deal(3, -(-vocab // 32), grid, gated=False, tile_bytes=tile_bytes)
    result = head_streams(head, streams)
    assert result.shape == (streams.cores, streams.bytes // 4)
    tiles = result.view(np.uint8).reshape(-1, tile_bytes)
    if tile_bytes == BFP8_TILE_BYTES:
        values = unpacked(tiles)
        tolerance = 2.0**-7 * np.abs(bfloat16_to_float32(head)).max()
    else:
        values, tolerance = bfloat16_to_float32(tiles.view(np.uint16)).astype(np.float64), 0.0
    # [core, pass, depth, column, face's row, face's column, row, column] to [token, feature]
    parts = values.reshape(streams.cores, streams.passes, 3, streams.columns, 2, 2, 16, 16)
    rows = parts.transpose(0, 1, 3, 5, 7, 2, 4, 6).reshape(-1, 96)
    np.testing.assert_allclose(rows[:vocab], bfloat16_to_float32(head), rtol=0, atol=tolerance)
    assert not rows[vocab:].any()
