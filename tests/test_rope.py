"""The rotary tables of the backends are the reference's to the bit, and rotations do what the paper promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference import rope as reference
from bitnet_tt.rope import rope_tables
from bitnet_tt.rope_settings import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling
from tests.test_config import BITNET_2B4T

CONFIG_2B4T = ModelConfig.from_dict(BITNET_2B4T)


@pytest.mark.parametrize(("head_dim", "theta"), [(128, 500000.0), (64, 10000.0), (256, 1000042.0), (96, 1e6), (2, 3.0)])
@pytest.mark.parametrize("length", [1, 7, 4096])
def test_tables_equal_the_references_to_the_bit(head_dim: int, theta: float, length: int) -> None:
    config = replace(CONFIG_2B4T, head_dim=head_dim, rope_theta=theta)
    tables, expected = rope_tables(config, length), reference.rope_tables(config, np.arange(length))
    for ours, theirs in zip(tables, expected, strict=True):
        assert ours.dtype == np.float32
        assert np.array_equal(ours.view(np.uint32), theirs[:, : head_dim // 2].copy().view(np.uint32))
        assert np.array_equal(theirs[:, : head_dim // 2], theirs[:, head_dim // 2 :])


SCALINGS = {
    "linear": LinearScaling(3.0),
    "yarn": YarnScaling(4.0, 32768, 0.1 * math.log(4) + 1),
    "yarn without rounding": YarnScaling(7.5, 1000, 1.5, 20.0, 3.0, truncate=False),
    "yarn with an empty ramp": YarnScaling(2.0, 4, 1.0),
    "llama3": Llama3Scaling(8.0, 8192, 1.0, 4.0),
}


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
@pytest.mark.parametrize(("head_dim", "theta"), [(128, 500000.0), (64, 10000.0)])
def test_scaled_tables_equal_the_references_to_the_bit(head_dim: int, theta: float, scaling: RopeScaling) -> None:
    config = replace(CONFIG_2B4T, head_dim=head_dim, rope_theta=theta, rope_scaling=scaling)
    tables, expected = rope_tables(config, 4096), reference.rope_tables(config, np.arange(4096))
    for ours, theirs in zip(tables, expected, strict=True):
        assert np.array_equal(ours.view(np.uint32), theirs[:, : head_dim // 2].copy().view(np.uint32))


@pytest.mark.parametrize("name", ["yarn", "llama3"])
def test_fast_frequencies_stay_and_slow_ones_are_divided(name: str) -> None:
    def frequencies(config: ModelConfig) -> np.ndarray:
        cos, sin = (table[1].astype(np.float64) for table in rope_tables(config, 2))
        return np.arctan2(sin, cos)

    plain = frequencies(CONFIG_2B4T)
    scaled = frequencies(replace(CONFIG_2B4T, rope_scaling=SCALINGS[name]))
    np.testing.assert_allclose(scaled[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(scaled[-1], plain[-1] / SCALINGS[name].factor, rtol=1e-5)
    shares = scaled / plain
    assert np.all(np.diff(shares) <= 1e-6)
    assert np.sum((shares > 1 / SCALINGS[name].factor + 0.01) & (shares < 0.99)) > 5


def test_the_references_tables_may_begin_at_any_position() -> None:
    whole, part = (reference.rope_tables(CONFIG_2B4T, np.arange(start, 40)) for start in (0, 33))
    assert all(np.array_equal(ours, theirs[33:]) for ours, theirs in zip(part, whole, strict=True))


def test_angles_are_positions_times_inverse_frequencies() -> None:
    cos, sin = rope_tables(CONFIG_2B4T, 4096)
    assert cos.shape == sin.shape == (4096, 64)
    assert np.all(cos[0] == 1)
    angle = 4095 * 500000.0 ** (-2 * 3 / 128)
    np.testing.assert_allclose([cos[4095, 3], sin[4095, 3]], [np.cos(angle), np.sin(angle)], atol=5e-4)


def test_scores_depend_on_distance_alone() -> None:
    q, k = np.random.default_rng(0).standard_normal((2, 1, 1, 128)).astype(np.float32)

    def rotated(x: np.ndarray, position: int) -> np.ndarray:
        return reference.apply_rope(x, *reference.rope_tables(CONFIG_2B4T, np.array([position])))

    def score(i: int, j: int) -> float:
        return float((rotated(q, i) * rotated(k, j)).sum())

    np.testing.assert_allclose(score(30, 25), score(7, 2), rtol=1e-4)
