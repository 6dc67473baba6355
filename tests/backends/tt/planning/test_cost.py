"""The cost of a decode step is the sum of its operations, and says what bounds the step."""

from __future__ import annotations

import pytest

from bitnet_tt.backends.tt.planning.cost import PEAK_BANDWIDTH, decode_cost
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from tests.backends.tt.planning.plans import PLAN_2B4T


def test_a_single_sequence_is_bound_by_reading_the_weights() -> None:
    step = decode_cost(PLAN_2B4T, batch=1, context=128)
    products = [
        cost for cost in step.costs if cost.count == PLAN_2B4T.config.num_hidden_layers and cost.name != "attention"
    ]
    assert {cost.bound for cost in products} == {"DRAM"}
    assert sum(cost.dram_bytes for cost in products) == 2084044800 // 1024 * 576
    assert step.seconds == pytest.approx(sum(cost.seconds for cost in step.costs))
    assert step.tokens_per_second == pytest.approx(1 / step.seconds)
    assert 466 / 512 <= step.streamed_tokens_per_second / step.tokens_per_second < 1
    assert sum(step.shares.values()) == pytest.approx(1)
    assert step.binding == ("ternary weights", "DRAM")
    for cost in step.costs:
        assert cost.seconds == max(cost.dram_bytes / PEAK_BANDWIDTH, cost.math_seconds)
        assert cost.cores <= SMALLEST_P150.cores
        assert cost.l1_bytes is None or cost.l1_bytes <= SMALLEST_P150.l1_bytes


def test_more_sequences_and_more_context_cost_more() -> None:
    small, wide, long = (decode_cost(PLAN_2B4T, *size) for size in ((1, 128), (32, 128), (1, 4096)))
    assert small.tokens_per_second < wide.tokens_per_second
    assert small.seconds < long.seconds
    assert long.cache_bytes == 30 * 2 * 4096 * 640 * 2


def test_what_binds_changes_with_the_context() -> None:
    assert decode_cost(PLAN_2B4T, batch=32, context=4096).binding == ("attention", "DRAM")
