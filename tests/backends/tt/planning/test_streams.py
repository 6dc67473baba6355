"""Every column of a product belongs to one core, which has room for what it computes; the banks have equal shares."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.options import TernaryTiles
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150, Grid
from bitnet_tt.backends.tt.planning.streams import MAX_COLUMNS, deal
from tests.backends.tt.planning.plans import PLAN_2B4T


def grid_of(cores: int) -> Grid:
    return replace(SMALLEST_P150, x=cores, y=1)


@given(st.integers(1, 300), st.integers(1, 3000), st.integers(1, 130), st.booleans())
def test_all_columns_are_dealt_out(depth: int, result_tiles: int, grid_cores: int, gated: bool) -> None:
    streams = deal(depth, result_tiles, grid_of(grid_cores), gated=gated, tile_bytes=256)
    assert 1 <= streams.cores <= grid_cores
    assert 1 <= streams.columns <= MAX_COLUMNS
    assert streams.columns == streams.results * (2 if gated else 1)
    each = streams.results * streams.passes
    assert (streams.cores - 1) * each < result_tiles <= streams.cores * each
    assert streams.tiles == depth * streams.columns * streams.passes


@given(st.integers(1, 300), st.integers(1, 5000), st.integers(1, 130), st.sampled_from([256, 320, 1088, 2048]))
def test_a_packet_has_whole_steps_and_the_room_has_whole_packets(
    depth: int, result_tiles: int, grid_cores: int, tile_bytes: int
) -> None:
    streams = deal(depth, result_tiles, grid_of(grid_cores), gated=False, tile_bytes=tile_bytes)
    assert 8 << 10 < streams.packet_tiles * tile_bytes <= 16 << 10
    assert streams.packet_tiles % streams.columns == 0
    assert streams.room_tiles * tile_bytes <= 256 << 10
    if streams.room_tiles < streams.tiles:
        assert streams.room_tiles % streams.packet_tiles == 0
        assert streams.room_tiles >= 4 * streams.packet_tiles  # as many are in flight


def test_the_banks_have_nearly_equal_shares_of_the_head_of_2b4t() -> None:
    streams = PLAN_2B4T.lm_head()
    assert (streams.cores, streams.columns, streams.passes) == (96, 3, 14)
    assert streams.cores * streams.bytes < 1.01 * 80 * 4008 * 1088


@pytest.mark.parametrize(
    ("depth", "result_tiles", "gated", "cores", "columns", "passes"),
    [(80, 120, False, 40, 3, 1), (80, 80, False, 80, 1, 1), (80, 216, True, 72, 2, 3), (216, 80, False, 80, 1, 1)],
)
def test_the_products_of_2b4t_on_the_smallest_grid(
    depth: int, result_tiles: int, gated: bool, cores: int, columns: int, passes: int
) -> None:
    streams = deal(depth, result_tiles, SMALLEST_P150, gated=gated, tile_bytes=256)
    assert (streams.cores, streams.columns, streams.passes) == (cores, columns, passes)


def test_the_ternary_weights_of_2b4t_take_two_bits_each_on_the_card() -> None:
    banks = SMALLEST_P150.dram_banks
    layer = sum(-(-streams.cores // banks) * banks * streams.bytes for _, streams in PLAN_2B4T.layer_streams())
    assert 2084044800 / 4 <= 30 * layer <= 0.522e9


def test_with_exponents_they_take_two_and_a_half() -> None:
    codes, bfp2 = (
        [streams.bytes for _, streams in replace(PLAN_2B4T, ternary_tiles=tiles).layer_streams()]
        for tiles in get_args(TernaryTiles)
    )
    assert bfp2 == [size * 5 // 4 for size in codes]
