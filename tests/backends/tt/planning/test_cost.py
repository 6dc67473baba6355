"""The cost of a decode step is the sum of its programs, and says what bounds the step."""

from __future__ import annotations

import pytest

from bitnet_tt.backends.tt.planning.cost import decode_cost, layout_costs
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.rates import BEST, LIKELY, PEAK_BANDWIDTH, WORST
from tests.backends.tt.planning.plans import PLAN_2B4T


@pytest.mark.parametrize("batch", [1, 4, 8, 32])
def test_a_step_is_the_sum_of_its_programs(batch: int) -> None:
    step = decode_cost(PLAN_2B4T, batch, context=128)
    assert step.floor_seconds == pytest.approx(sum(cost.floor_seconds for cost in step.costs))
    assert step.floor_seconds < sum(cost.seconds for cost in step.costs) < step.seconds
    assert step.tokens_per_second == pytest.approx(batch / step.seconds)
    assert sum(step.shares.values()) == pytest.approx(1)
    assert step.bandwidth_seconds == pytest.approx(sum(cost.dram_bytes for cost in step.costs) / PEAK_BANDWIDTH)
    for cost in step.costs:
        assert cost.floor_seconds + cost.count * LIKELY.launch_seconds < cost.seconds
        assert cost.cores <= SMALLEST_P150.cores
        best, worst = cost.range_seconds
        assert cost.floor_seconds < best < cost.seconds <= worst
    best, worst = step.range_seconds
    assert best == pytest.approx(sum(cost.range_seconds[0] for cost in step.costs) + BEST.host_seconds(batch))
    assert worst == pytest.approx(sum(cost.range_seconds[1] for cost in step.costs) + WORST.host_seconds(batch))


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_every_program_that_is_launched_has_a_cost(batch: int) -> None:
    step = decode_cost(PLAN_2B4T, batch, context=128)
    assert step.launches == sum(cost.count for cost in step.costs)


def test_a_step_reads_each_ternary_weight_once_as_two_bits() -> None:
    step = decode_cost(PLAN_2B4T, batch=1, context=128)
    assert sum(cost.dram_bytes for cost in step.costs if cost.part == "ternary weights") == 2084044800 / 4


@pytest.mark.parametrize("batch", [1, 32])
def test_the_forms_of_ternary_weights_differ_by_the_bytes_of_their_tiles(batch: int) -> None:
    codes, bfp2, stock = layout_costs(PLAN_2B4T, batch, context=128).values()
    assert codes == decode_cost(PLAN_2B4T, batch, context=128)
    tiles = 2084044800 / 1024
    assert bfp2.weight_bytes - codes.weight_bytes == pytest.approx(tiles * 64, rel=1e-2)  # banks are padded
    assert stock.weight_bytes - codes.weight_bytes == pytest.approx(tiles * (576 - 256), rel=1e-2)
    assert codes.seconds < bfp2.seconds
    if batch == 1:
        # Norms, quantisers and rotation are programs; so are two conversions of the embedding, and an addition.
        assert (bfp2.launches, stock.launches) == (codes.launches, codes.launches + 30 * 5 + 3)
        more = (stock.bandwidth_seconds - codes.bandwidth_seconds) * PEAK_BANDWIDTH
        assert more == pytest.approx(tiles * (576 - 256), rel=1e-2)


def test_more_sequences_and_more_context_cost_more() -> None:
    small, wide, long = (decode_cost(PLAN_2B4T, *size) for size in ((1, 128), (32, 128), (1, 4096)))
    assert small.tokens_per_second < wide.tokens_per_second
    assert small.seconds < long.seconds
    assert long.cache_bytes == 30 * 2 * 4096 * 640 * 4


def test_what_binds_changes_with_the_context() -> None:
    assert decode_cost(PLAN_2B4T, batch=1, context=128).binding == ("ternary weights", "DRAM")
    assert decode_cost(PLAN_2B4T, batch=32, context=4096).binding[0] == "attention"
