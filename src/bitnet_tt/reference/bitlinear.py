"""BitLinear (W1.58A8): int8 activations times ternary weights, summed exactly (arXiv 2402.17764).

Activations are quantised per token by their absmax, weights per tensor by their absmean. The product of the integers is
exact. It is scaled back to float32 once, at the end.

Where the weights have a scale for each group of columns, activations are quantised in the same groups, and each group
is scaled back by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.weights import GroupedMatrix, TernaryMatrix

type Array = NDArray[np.floating[Any]]
"""float32, or float64 (see `decoder.forward`)."""

_MIN_MAGNITUDE = 1e-5
"""Lower limit of an absmax or absmean, so that a row of zeros is not divided by zero."""

_GROUPED_ROWS = 16
"""Rows of a `GroupedMatrix` that are stored together."""


def quantize_activations(x: Array) -> tuple[NDArray[np.int8], Array]:
    """Quantise each token to int8 by its absmax. Halves round to even.

    Args:
        x: float32 or float64 [..., features].

    Returns:
        q int8 [..., features] and the activation scale s [..., 1], with the type of x. x is approximately q / s.
    """
    scale = 127 / np.maximum(np.abs(x).max(axis=-1, keepdims=True), _MIN_MAGNITUDE)
    quantized = np.clip(np.rint(x * scale), -128, 127).astype(np.int8)
    return quantized, scale


def quantize_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    """Quantise a whole matrix to ternary by its absmean, which is summed in float64 and rounded to float32 once.

    Args:
        weights: float32 [out, in].

    Returns:
        T int8 [out, in] of -1, 0, +1 and the weight scale w. W is approximately w * T.
    """
    scale = np.maximum(np.float32(np.abs(weights).mean(dtype=np.float64)), np.float32(_MIN_MAGNITUDE))
    return np.clip(np.rint(weights / scale), -1, 1).astype(np.int8), np.float32(scale)


def unpack_ternary(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Unpack uint8 [out / 4, in] to int8 [out, in] of -1, 0, +1. See `TernaryMatrix` for the layout."""
    return np.concatenate([((packed >> shift) & 3).astype(np.int8) - np.int8(1) for shift in (0, 2, 4, 6)])


def bitlinear(q: NDArray[np.int8], scale: Array, weight: TernaryMatrix) -> Array:
    """Multiply quantised activations by ternary weights, then scale back: y = (q · Tᵀ) * (w / s).

    NumPy multiplies float32 matrices fast and integer matrices slowly, so the integers are multiplied as float32. That
    is exact: |acc| <= 127 * in < 2**24, so float32 holds every partial sum, whatever the order of the sums.

    Args:
        q: int8 [tokens, in].
        scale: [tokens, 1], the activation scale s of each token.
        weight: [out, in].

    Returns:
        [tokens, out], with the type of `scale`.
    """
    accumulator = q.astype(np.float32) @ unpack_ternary(weight.packed).astype(np.float32).T
    return accumulator * (weight.scale / scale)


def unpack_groups(matrix: GroupedMatrix) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Unpack a matrix with group scales. See `GroupedMatrix` for the layout.

    Returns:
        T int8 [out, in] of -1, 0, +1 (and +2 where the matrix has it), and the scales float32 [out, in / group].
    """
    groups = matrix.in_features // matrix.group
    records = matrix.blocks.reshape(len(matrix.blocks), groups, -1)
    scales = np.ascontiguousarray(records[:, :, : 2 * _GROUPED_ROWS]).view(np.float16).astype(np.float32)
    # [16 rows together, group, 16 columns together, row, byte of a word, field of a byte]
    words = records[:, :, 2 * _GROUPED_ROWS :].reshape(len(records), groups, -1, _GROUPED_ROWS, 4, 1)
    codes = (words >> np.array([0, 2, 4, 6], np.uint8)) & 3
    values = codes.transpose(0, 3, 1, 2, 4, 5).reshape(-1, matrix.in_features).astype(np.int8) - np.int8(1)
    return values[: matrix.out_features], scales.swapaxes(1, 2).reshape(-1, groups)[: matrix.out_features]


def widen_groups(matrix: GroupedMatrix, rows: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
    """Return rows of a matrix with group scales as float32 [rows, in]. The products are exact."""
    values, scales = unpack_groups(matrix)
    return values[rows].astype(np.float32) * np.repeat(scales[rows], matrix.group, axis=1)


def grouped_bitlinear(x: Array, weight: GroupedMatrix) -> Array:
    """Quantise each group of activations by itself, multiply, scale back each group, and add the groups in order.

    In float32 the sum is rounded after each group, as by a fused multiply-add. Computed in float64 it is rounded
    twice, so now and then the last bit differs from the CPU backend's.

    Args:
        x: [tokens, in].
        weight: [out, in].

    Returns:
        [tokens, out], with the type of x.
    """
    values, scales = unpack_groups(weight)
    y: Array = np.zeros((len(x), weight.out_features), x.dtype)
    for index in range(scales.shape[1]):
        columns = slice(index * weight.group, (index + 1) * weight.group)
        q, scale = quantize_activations(x[:, columns])
        accumulator = q.astype(np.float32) @ values[:, columns].astype(np.float32).T  # exact, as in `bitlinear`
        factor = scales[:, index] * (1 / scale)
        y = (y + accumulator.astype(np.float64) * factor).astype(x.dtype)
    return y


def float_linear(x: Array, weight: GroupedMatrix) -> Array:
    """Multiply activations that are not quantised: what the authors of Ternary-Bonsai compute, in float32.

    Args:
        x: float32 [tokens, in].
        weight: [out, in].

    Returns:
        float32 [tokens, out].
    """
    product: Array = x @ widen_groups(weight, slice(None)).T
    return product
