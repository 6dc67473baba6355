"""On every instruction set of this machine, the quantiser and the ternary product equal the reference bit for bit.

The product is exact for any shape, at its largest possible sums, and for weights at any address.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitnet_tt import _native
from bitnet_tt.backends.cpu.backend import available_isas
from bitnet_tt.reference import quantize_activations, unpack_ternary
from tests.backends.cpu.random_models import random_ternary

ISAS = available_isas()


def check_product(isa: str, packed: np.ndarray, x: np.ndarray) -> None:
    """Compare the product of float32 activations and packed weights with int64 arithmetic in NumPy."""
    q, scale = quantize_activations(x)
    accumulator = q.astype(np.int64) @ unpack_ternary(packed).astype(np.int64).T
    expected = accumulator.astype(np.float32) * (np.float32(0.7) / scale)
    np.testing.assert_array_equal(_native.bit_linear(_native.Linear(packed, 0.7, None), x, isa), expected)


@pytest.mark.parametrize("isa", ISAS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    quarter=st.integers(1, 40),
    in_features=st.one_of(st.integers(1, 200), st.sampled_from([640, 1279, 1281, 2560])),
    tokens=st.integers(1, 15),
    seed=st.integers(0, 2**32 - 1),
)
def test_product_is_exact(isa, quarter, in_features, tokens, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, in_features)).astype(np.float32)
    check_product(isa, random_ternary(rng, 4 * quarter, in_features), x)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("four_codes", [0x00, 0x55, 0xAA], ids=["-1", "0", "1"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_product_at_its_largest(isa, four_codes, sign):
    """All weights are the same and all activations quantise to 127 or -127, so no sum can be larger."""
    packed = np.full((5, 6912), four_codes, np.uint8)
    check_product(isa, packed, np.full((3, 6912), sign, np.float32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("offset", [1, 3, 63])
def test_product_at_any_alignment(isa, offset):
    """Weights in a mapped file begin at any byte."""
    rng = np.random.default_rng(1)
    memory = np.zeros(offset + 9 * 147, np.uint8)
    packed = memory[offset:].reshape(9, 147)
    packed[:] = random_ternary(rng, 36, 147)
    packed.flags.writeable = False
    check_product(isa, packed, rng.normal(size=(7, 147)).astype(np.float32))


@pytest.mark.parametrize("isa", ISAS)
@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    x=arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 150)),
        elements=st.floats(-(2.0**66), 2.0**66, width=32),
    )
)
def test_quantizer_equals_reference(isa, x):
    """Also for rows of zeros and for numbers from subnormal to 2^66; the padding to a multiple of 64 is zeros."""
    values, scales = _native.quantize(x, isa)
    expected, expected_scales = quantize_activations(x)
    np.testing.assert_array_equal(values[:, : x.shape[1]], expected)
    np.testing.assert_array_equal(scales, expected_scales[:, 0])
    assert values.shape[1] % 64 == 0
    assert not values[:, x.shape[1] :].any()


@pytest.mark.parametrize("isa", ISAS)
def test_quantizer_rounds_half_to_even(isa):
    x = np.array([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]], np.float32)
    values, scales = _native.quantize(x, isa)
    assert scales[0] == 1
    assert values[0, :8].tolist() == [127, 0, 2, 2, 0, -2, -2, 126]
