"""Random rows of logits, and the softmax that they should give."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

# Multiples of 2^-10: smaller differences would be ties for the integer weights, but not for the float64 softmax.
logit_rows = st.lists(st.integers(-30 << 10, 30 << 10), min_size=1, max_size=60).map(
    lambda values: np.array(values, np.float32) / np.float32(1 << 10)
)


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax in float64."""
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()
