"""Rotary position embeddings (RoPE, arXiv 2104.09864): the tables that backends multiply with, in half-split form.

The oracle has its own derivation, `bitnet_tt.reference.rope`. Tests require equal bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig
from bitnet_tt.rope_settings import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling


def rope_tables(config: ModelConfig, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosine and the sine of every angle of positions 0 to length - 1, times YaRN's attention factor.

    Column i holds the angles of the pair of features i and i + head_dim / 2. The angles are float32 products, as in
    Hugging Face transformers. The cosines and sines are computed in float64 and rounded once, so that the tables are
    the same on every machine.

    Returns:
        Two float32 arrays [length, head_dim / 2].
    """
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = (1.0 / config.rope_theta ** exponents.astype(np.float64)).astype(np.float32)
    scaling, factor = config.rope_scaling, 1.0
    if scaling is not None:
        frequencies = _scaled(frequencies.astype(np.float64), scaling, config).astype(np.float32)
    if isinstance(scaling, YarnScaling):
        factor = scaling.attention_factor
    angles = np.arange(length, dtype=np.float32)[:, None] * frequencies
    cos, sin = np.cos(angles, dtype=np.float64), np.sin(angles, dtype=np.float64)
    return (cos * factor).astype(np.float32), (sin * factor).astype(np.float32)


def _scaled(frequencies: NDArray[np.float64], scaling: RopeScaling, config: ModelConfig) -> NDArray[np.float64]:
    """Scale the frequencies [head_dim / 2], in radians a token: fast ones stay, slow ones are divided by the factor."""
    if isinstance(scaling, LinearScaling):
        return frequencies / scaling.factor
    slow = _yarn_slow(scaling, config) if isinstance(scaling, YarnScaling) else _llama3_slow(frequencies, scaling)
    return frequencies / scaling.factor * slow + frequencies * (1 - slow)


def _yarn_slow(scaling: YarnScaling, config: ModelConfig) -> NDArray[np.float64]:
    """Return each pair's place on YaRN's ramp, from 0 (fast) to 1 (slow). The ramp is linear in the pair's index."""

    def pair_of(rotations: float) -> float:
        wavelength = scaling.original_max_position_embeddings / rotations
        return config.head_dim * math.log(wavelength / (2 * math.pi)) / (2 * math.log(config.rope_theta))

    first, last = pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, config.head_dim - 1)
    last += 0.001 if first == last else 0
    slow: NDArray[np.float64] = np.clip((np.arange(config.head_dim // 2) - first) / (last - first), 0, 1)
    return slow


def _llama3_slow(frequencies: NDArray[np.float64], scaling: Llama3Scaling) -> NDArray[np.float64]:
    """Return each pair's place on the ramp of Llama 3.1, from 0 (fast) to 1 (slow). It is linear in the frequency."""
    rotations = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    fast: NDArray[np.float64] = np.clip((rotations - scaling.low_freq_factor) / span, 0, 1)
    return 1.0 - fast
