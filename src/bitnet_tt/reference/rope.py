"""Rotary position embeddings (RoPE, arXiv 2104.09864) as Hugging Face transformers computes them.

A head's features form pairs. At position m, pair i is rotated in its plane by the angle m * theta^(-2i / head_dim). The
score of a query and a key then depends on the distance of their positions only. The paper pairs neighbours, features 2i
and 2i + 1. Hugging Face checkpoints order the rows of q_proj and k_proj so that pair i is features i and
i + head_dim / 2 (the half-split form).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig

Array = NDArray[np.float32]


def rope_tables(config: ModelConfig, positions: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the cosine and the sine of the angle of every feature.

    As in transformers, each step up to the angles is rounded to float32. The cosines and sines are computed in float64
    and rounded once, so that they are the same on every machine.

    Args:
        config: Its `head_dim` and `rope_theta` are used.
        positions: [tokens].

    Returns:
        Two float32 arrays [tokens, head_dim]. Features i and i + head_dim / 2 have the same angle.
    """
    exponents = [float(np.float32(2 * pair) / np.float32(config.head_dim)) for pair in range(config.head_dim // 2)]
    frequencies = np.array([1.0 / config.rope_theta**exponent for exponent in exponents], np.float32)
    angles = np.outer(positions.astype(np.float32), frequencies)
    angles = np.concatenate([angles, angles], axis=-1).astype(np.float64)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def apply_rope(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate each pair (a, b) of features to (a cos - b sin, b cos + a sin).

    Args:
        x: float32 [tokens, heads, head_dim].
        cos: float32 [tokens, head_dim], from `rope_tables`.
        sin: float32 [tokens, head_dim].
    """
    first, second = np.split(x, 2, axis=-1)
    rotated: Array = x * cos[:, None] + np.concatenate([-second, first], axis=-1) * sin[:, None]
    return rotated
