"""BitLinear, W1.58A8: absmax int8 activations times absmean ternary weights, exact in integers (arXiv 2402.17764)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.weights import TernaryMatrix

_FLOOR = np.float32(1e-5)


def quantize_activations(x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Absmax quantisation of each token to int8.

    Args:
        x: [..., features].

    Returns:
        q int8 [..., features] and its scale s float32 [..., 1], so that x is about q / s.
    """
    scale = np.float32(127) / np.maximum(np.abs(x).max(axis=-1, keepdims=True), _FLOOR)
    quantized = np.clip(np.rint(x * scale), -128, 127).astype(np.int8)
    return quantized, scale


def quantize_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    """Absmean quantisation of a whole matrix to ternary.

    Args:
        weights: [out, in].

    Returns:
        T int8 [out, in] of -1, 0, +1 and the scale w, so that W is about w * T.
    """
    scale = np.maximum(np.abs(weights).mean(dtype=np.float32), _FLOOR)
    return np.clip(np.rint(weights / scale), -1, 1).astype(np.int8), np.float32(scale)


def unpack_ternary(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Unpack uint8 [out / 4, in] to int8 [out, in]; see TernaryMatrix for the layout."""
    return np.concatenate([((packed >> shift) & 3).astype(np.int8) - np.int8(1) for shift in (0, 2, 4, 6)])


def bitlinear(q: NDArray[np.int8], scale: NDArray[np.float32], weight: TernaryMatrix) -> NDArray[np.float32]:
    """Integer product of quantised activations and ternary weights, then dequantise.

    The product is taken in float32: |acc| <= 127 * in < 2**24, so every partial sum is an exact integer.

    Args:
        q: int8 [tokens, in].
        scale: float32 [tokens, 1].
        weight: [out, in].

    Returns:
        float32 [tokens, out].
    """
    accumulator = q.astype(np.float32) @ unpack_ternary(weight.packed).astype(np.float32).T
    return np.asarray(accumulator * (weight.scale / scale), dtype=np.float32)
