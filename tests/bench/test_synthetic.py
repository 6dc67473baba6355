from __future__ import annotations

from dataclasses import replace

import numpy as np

from bitnet_tt import reference
from bitnet_tt.bench.synthetic import synthetic_config, synthetic_weights


def test_synthetic_models_compute_finite_logits_and_have_the_usual_zeros() -> None:
    config = replace(synthetic_config("2b4t"), num_hidden_layers=1, vocab_size=64)
    weights = synthetic_weights(config)
    assert np.isfinite(reference.forward(config, weights, [1, 2, 3])).all()
    zeros = (reference.unpack_ternary(weights.layers[0].down_proj.packed) == 0).mean()
    assert abs(zeros - 0.42) < 0.01
