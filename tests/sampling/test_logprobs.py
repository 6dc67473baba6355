"""Reported log-probabilities are the log-softmax of the logits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitnet_tt.sampling.logprobs import log_probabilities
from tests.sampling.rows import probabilities


def test_log_probabilities_are_the_log_softmax() -> None:
    logits = np.array([1.0, 3.0, 2.0], np.float32)
    result = log_probabilities(logits, 0, 2)
    expected = np.log(probabilities(logits, 1.0))
    assert result.logprob == pytest.approx(expected[0])
    assert [index for index, _ in result.top] == [1, 2]
    assert math.isclose(result.top[0][1], expected[1])
