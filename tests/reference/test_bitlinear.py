"""The reference's BitLinear does what the numerics contract says: rounding, scales, packing and the exact product."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitnet_tt.reference import bitlinear, quantize_activations, quantize_weights, unpack_ternary
from bitnet_tt.weights import TernaryMatrix, bfloat16_to_float32, float32_to_bfloat16

finite = st.floats(-1e4, 1e4, width=32)


@given(arrays(np.float32, (3, 16), elements=finite))
def test_dequantised_activations_are_within_half_a_step(x: np.ndarray) -> None:
    q, scale = quantize_activations(x)
    assert np.abs(q.astype(int)).max() <= 127
    assert np.all(np.abs(q / scale - x) <= 0.5 / scale * (1 + 1e-5))


def test_halves_round_to_even() -> None:
    q, _ = quantize_activations(np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32))
    assert q.tolist() == [[127, 0, 2, 2, 0, -2]]


def test_zeros_stay_zeros() -> None:
    q, scale = quantize_activations(np.zeros((1, 4), np.float32))
    assert q.tolist() == [[0, 0, 0, 0]]
    assert scale == np.float32(127) / np.float32(1e-5)


def test_weights_are_rounded_to_their_mean_magnitude() -> None:
    ternary, scale = quantize_weights(np.array([[2.0, -2.0, 0.4, -0.4], [1.0, -1.0, 0.2, 1.0]], np.float32))
    assert scale == np.float32(1.0)
    assert ternary.tolist() == [[1, -1, 0, 0], [1, -1, 0, 1]]


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_product_is_exact(quarter: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ternary = rng.integers(-1, 2, (4 * quarter, width))
    codes = (ternary + 1).reshape(4, quarter, width).astype(np.uint8)
    packed = codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6
    assert np.array_equal(unpack_ternary(packed), ternary)
    q = rng.integers(-127, 128, (2, width)).astype(np.int8)
    weight = TernaryMatrix(packed, np.float32(0.5))
    scale = np.full((2, 1), 4, np.float32)
    assert np.array_equal(bitlinear(q, scale, weight), (q.astype(int) @ ternary.T) * 0.125)


@given(arrays(np.uint16, 8))
def test_bfloat16_to_float32_and_back_is_exact(bits: np.ndarray) -> None:
    bits = bits[(bits & 0x7F80) != 0x7F80]
    assert np.array_equal(float32_to_bfloat16(bfloat16_to_float32(bits)), bits)


def test_bfloat16_rounds_half_to_even_and_keeps_nan() -> None:
    values = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7FC00000], np.uint32).view(np.float32)
    assert float32_to_bfloat16(values).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7FC0]
