"""Integer weights are proportional to the softmax."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.sampling.softmax import ONE, softmax_weights
from tests.sampling.rows import logit_rows, probabilities


@given(logit_rows, st.floats(0.1, 3))
def test_weights_are_the_softmax(logits: np.ndarray, temperature: float) -> None:
    weights = softmax_weights(logits, temperature)
    np.testing.assert_allclose(weights / weights.sum(), probabilities(logits, temperature), atol=1e-12)


def test_the_best_token_weighs_one_and_an_improbable_one_nothing() -> None:
    assert softmax_weights(np.array([2.0, -60.0], np.float32), 1.0).tolist() == [ONE, 0]
