from __future__ import annotations

import numpy as np

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.rope import apply_rope
from bitnet_tt.rope import rope_tables
from tests.test_config import BITNET_2B4T


def test_angles_are_positions_times_inverse_frequencies() -> None:
    cos, sin = rope_tables(ModelConfig.from_dict(BITNET_2B4T), 4096)
    assert cos.shape == sin.shape == (4096, 64)
    assert np.all(cos[0] == 1)
    angle = 4095 * 500000.0 ** (-2 * 3 / 128)
    np.testing.assert_allclose([cos[4095, 3], sin[4095, 3]], [np.cos(angle), np.sin(angle)], atol=5e-4)


def test_scores_depend_on_distance_alone() -> None:
    cos, sin = rope_tables(ModelConfig.from_dict(BITNET_2B4T), 40)
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 1, 1, 128)).astype(np.float32)

    def score(i: int, j: int) -> float:
        return float(
            (apply_rope(q, cos[i : i + 1], sin[i : i + 1]) * apply_rope(k, cos[j : j + 1], sin[j : j + 1])).sum()
        )

    np.testing.assert_allclose(score(30, 25), score(7, 2), rtol=1e-4)
