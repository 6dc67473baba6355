"""Each core's stream has the weights of its columns, in the order in which it multiplies them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.ternary_codes import ternary_streams
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150, TERNARY_TILE_BYTES, Grid
from bitnet_tt.backends.tt.planning.streams import Streams, deal
from tests.ternary_matrices import random_matrix


def grid_of(cores: int) -> Grid:
    return replace(SMALLEST_P150, x=cores, y=1)


RANDOM = np.random.default_rng(0)
VALUES = np.array([0, 1, 0, -1])  # of the card's codes; 0b10 would be minus infinity


@pytest.mark.parametrize("tile_bytes", TERNARY_TILE_BYTES.values())
def test_a_tile_of_bfp2_begins_with_exponents_of_one(tile_bytes: int) -> None:
    _, matrix = random_matrix(RANDOM, 64, 96)
    streams = deal(3, 2, grid_of(2), gated=False, tile_bytes=tile_bytes)
    tiles = ternary_streams([matrix], streams).view(np.uint8).reshape(-1, tile_bytes)
    assert (tiles[:, :-256] == 127).all()
    codes = ternary_streams([matrix], replace(streams, tile_bytes=TERNARY_TILE_BYTES["codes"]))
    np.testing.assert_array_equal(tiles[:, -256:], codes.view(np.uint8).reshape(-1, 256))


def columns_of(words: NDArray[np.uint32], streams: Streams) -> NDArray[np.int64]:
    """Return the weights [in, columns] of one pass of a stream, read tile by tile and face by face."""
    codes = words.view(np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    assert (codes != 0b10).all()
    tiles = VALUES[codes].reshape(streams.depth, streams.columns, 2, 2, 16, 16)  # faces: upper or lower, left or right
    return tiles.transpose(0, 2, 4, 1, 3, 5).reshape(streams.depth * 32, streams.columns * 32)


@pytest.mark.parametrize(("widths", "cores"), [((256, 128, 128), 16), ((96, 64, 32), 4), ((1280,), 7)])
def test_matrices_side_by_side(widths: tuple[int, ...], cores: int) -> None:
    matrices = [random_matrix(RANDOM, width, 96) for width in widths]
    streams = deal(3, sum(widths) // 32, grid_of(cores), gated=False, tile_bytes=256)
    result = ternary_streams([matrix for _, matrix in matrices], streams)
    assert result.shape == (streams.cores, streams.bytes // 4)
    parts = result.reshape(streams.cores * streams.passes, -1)
    columns = np.concatenate([columns_of(part, streams) for part in parts], axis=1)
    expected = np.concatenate([values for values, _ in matrices]).T
    np.testing.assert_array_equal(columns[:, : sum(widths)], expected)
    assert not columns[:, sum(widths) :].any()


def test_some_outputs_of_matrices() -> None:
    matrices = [random_matrix(RANDOM, width, 96) for width in (256, 128)]
    outputs = (range(64, 256), range(96, 128))
    streams = deal(3, 7, grid_of(4), gated=False, tile_bytes=256)
    parts = ternary_streams([matrix for _, matrix in matrices], streams, outputs).reshape(4 * streams.passes, -1)
    columns = np.concatenate([columns_of(part, streams) for part in parts], axis=1)
    expected = np.concatenate([values[some] for (values, _), some in zip(matrices, outputs, strict=True)]).T
    np.testing.assert_array_equal(columns[:, : 7 * 32], expected)


@pytest.mark.parametrize("cores", [1, 5, 9, 22])
def test_a_pass_has_columns_of_gate_and_then_the_same_ones_of_up(cores: int) -> None:
    (gate, gate_matrix), (up, up_matrix) = (random_matrix(RANDOM, 704, 64) for _ in range(2))
    streams = deal(2, 22, grid_of(cores), gated=True, tile_bytes=256)
    parts = ternary_streams([gate_matrix, up_matrix], streams).reshape(streams.cores * streams.passes, -1)
    halves = [np.split(columns_of(part, streams), 2, axis=1) for part in parts]
    for index, values in enumerate((gate, up)):
        columns = np.concatenate([half[index] for half in halves], axis=1)
        np.testing.assert_array_equal(columns[:, :704], values.T)
        assert not columns[:, 704:].any()
