"""Rotary position embeddings (RoPE, arXiv 2104.09864): the tables that backends multiply with, in half-split form.

The oracle has its own derivation, `bitnet_tt.reference.rope`. Tests require equal bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig


def rope_tables(config: ModelConfig, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosine and the sine of every angle of positions 0 to length - 1.

    Column i holds the angles of the pair of features i and i + head_dim / 2. The angles are float32 products, as in
    Hugging Face transformers. The cosines and sines are computed in float64 and rounded once, so that the tables are
    the same on every machine.

    Returns:
        Two float32 arrays [length, head_dim / 2].
    """
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    inverse_frequencies = (1.0 / config.rope_theta ** exponents.astype(np.float64)).astype(np.float32)
    angles = np.arange(length, dtype=np.float32)[:, None] * inverse_frequencies
    return np.cos(angles, dtype=np.float64).astype(np.float32), np.sin(angles, dtype=np.float64).astype(np.float32)
