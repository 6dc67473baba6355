"""Every stream has one core, and streams of a bank have the cores around it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.placement import NO_STREAM, place_streams

BANKS = [(0, 0), (0, 3), (0, 5), (0, 8), (10, 1), (10, 4), (10, 6), (10, 9)]


@pytest.mark.parametrize("streams", [1, 8, 40, 72, 110])
def test_every_stream_has_a_core(streams: int) -> None:
    placed = place_streams(streams, SMALLEST_P150, BANKS)
    assert len(placed) == SMALLEST_P150.cores
    assert sorted(stream for stream in placed if stream != NO_STREAM) == list(range(streams))


def test_the_first_streams_lie_beside_their_banks_and_the_others_around() -> None:
    placed = place_streams(40, SMALLEST_P150, BANKS)
    for stream in range(40):
        y, x = divmod(placed.index(stream), SMALLEST_P150.x)
        bank_x, bank_y = BANKS[stream % 8]
        assert abs(x - bank_x) + abs(y - bank_y) <= (0 if stream < 8 else 4)


def test_a_core_that_is_beside_two_banks_reads_one_stream() -> None:
    grid = replace(SMALLEST_P150, x=2, y=2)
    assert sorted(place_streams(4, grid, [(0, 0), (0, 0)])) == [0, 1, 2, 3]
