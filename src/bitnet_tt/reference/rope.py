"""Rotary position embeddings (RoPE, arXiv 2104.09864) as Hugging Face transformers computes them.

A head's features form pairs. At position m, pair i is rotated in its plane by the angle m * theta^(-2i / head_dim). The
score of a query and a key then depends on the distance of their positions only. The paper pairs neighbours, features 2i
and 2i + 1. Hugging Face checkpoints order the rows of q_proj and k_proj so that pair i is features i and
i + head_dim / 2 (the half-split form).

Models for long texts scale the frequencies, and YaRN multiplies queries and keys besides (see `rope_settings`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.bitlinear import Array
from bitnet_tt.rope_settings import LinearScaling, Llama3Scaling, YarnScaling


def rope_tables(config: ModelConfig, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosine and the sine of the angle of every feature.

    As in transformers, each step up to the angles is rounded to float32. The cosines and sines are computed in float64
    and rounded once, so that they are the same on every machine.

    Args:
        config: Its `head_dim`, `rope_theta` and `rope_scaling` are used.
        positions: [tokens].

    Returns:
        Two float32 arrays [tokens, head_dim], multiplied by YaRN's attention factor. Features i and i + head_dim / 2
        have the same angle.
    """
    exponents = [float(np.float32(2 * pair) / np.float32(config.head_dim)) for pair in range(config.head_dim // 2)]
    plain = np.array([1.0 / config.rope_theta**exponent for exponent in exponents], np.float32)
    frequencies = np.array([_scale(config, pair, float(f)) for pair, f in enumerate(plain)], np.float32)
    angles = np.outer(positions.astype(np.float32), frequencies)
    angles = np.concatenate([angles, angles], axis=-1).astype(np.float64)
    scaling = config.rope_scaling
    factor = scaling.attention_factor if isinstance(scaling, YarnScaling) else 1.0
    return (np.cos(angles) * factor).astype(np.float32), (np.sin(angles) * factor).astype(np.float32)


def _scale(config: ModelConfig, pair: int, frequency: float) -> float:
    """Return the scaled frequency of a pair of features, in radians a token."""
    match config.rope_scaling:
        case None:
            return frequency
        case LinearScaling(factor):
            return frequency / factor
        case YarnScaling() as yarn:
            first, last = _yarn_ramp(config, yarn)
            slow = min(max((pair - first) / (last - first), 0.0), 1.0)
            return frequency / yarn.factor * slow + frequency * (1.0 - slow)
        case Llama3Scaling() as llama3:
            rotations = llama3.original_max_position_embeddings * frequency / (2 * math.pi)
            span = llama3.high_freq_factor - llama3.low_freq_factor
            slow = 1.0 - min(max((rotations - llama3.low_freq_factor) / span, 0.0), 1.0)
            return frequency / llama3.factor * slow + frequency * (1.0 - slow)


def _yarn_ramp(config: ModelConfig, yarn: YarnScaling) -> tuple[float, float]:
    """Return the first and the last pair of YaRN's ramp: those with beta_fast and beta_slow rotations."""

    def pair_of(rotations: float) -> float:
        wavelength = yarn.original_max_position_embeddings / rotations  # in tokens
        return config.head_dim * math.log(wavelength / (2 * math.pi)) / (2 * math.log(config.rope_theta))

    first, last = pair_of(yarn.beta_fast), pair_of(yarn.beta_slow)
    if yarn.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, config.head_dim - 1)
    return first, last + 0.001 if first == last else last


def apply_rope(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate each pair (a, b) of features to (a cos - b sin, b cos + a sin).

    Args:
        x: [tokens, heads, head_dim].
        cos: float32 [tokens, head_dim], from `rope_tables`.
        sin: float32 [tokens, head_dim].
    """
    first, second = np.split(x, 2, axis=-1)
    rotated: Array = x * cos[:, None] + np.concatenate([-second, first], axis=-1) * sin[:, None]
    return rotated
