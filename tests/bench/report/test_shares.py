"""Shares of the machine's limits follow from the speed, the bytes and the operations of a step."""

from __future__ import annotations

from bitnet_tt.bench.report.results import Roof, Speed, Spread
from bitnet_tt.bench.report.shares import operations_per_token, with_shares
from bitnet_tt.bench.synthetic import synthetic_config

ROOF = Roof(1, Spread(10.0, 9.0, 12.0), Spread(500.0, 400.0, 600.0))


def test_2b4t_has_the_ternary_weights_of_its_model_card() -> None:
    assert synthetic_config("2b4t").ternary_weights == 2_084_044_800
    assert operations_per_token(synthetic_config("2b4t")) == 4_168_089_600


def test_bytes_are_read_once_for_all_sequences_and_operations_done_for_each() -> None:
    speed = with_shares(Speed(1, 4, 20.0, 20.0, 20.0), ROOF, bytes_per_step=1_000_000_000, operations=5_000_000_000)
    assert speed.bandwidth_share == 0.5
    assert speed.int8_share == 0.2
    assert speed.bytes_per_step == 1_000_000_000


def test_unknown_bytes_and_operations_have_no_share() -> None:
    speed = with_shares(Speed(1, 1, 20.0, 20.0, 20.0), ROOF)
    assert speed.bandwidth_share is None
    assert speed.int8_share is None


def test_the_median_of_four_values_is_the_mean_of_the_middle_two() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 8.0]) == Spread(3.0, 1.0, 8.0)
