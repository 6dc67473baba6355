"""Every layout of ternary weights matches its specification and ggml's own package, and converts without loss."""

from __future__ import annotations

import gguf
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitnet_tt.checkpoint import packing

seeds = st.integers(0, 2**32 - 1)


def codes(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 3, shape, np.uint8)


@given(seeds, st.integers(1, 9), st.integers(1, 40))
def test_canonical_layout(seed: int, quarter: int, columns: int) -> None:
    """Bits 2i..2i+1 of byte [r, c] hold row i * out/4 + r."""
    matrix = codes(seed, (4 * quarter, columns))
    packed = packing.pack(matrix)
    assert packed.shape == (quarter, columns)
    for i in range(4):
        np.testing.assert_array_equal(packed >> 2 * i & 3, matrix[i * quarter : (i + 1) * quarter])
    np.testing.assert_array_equal(packing.unpack(packed), matrix)


@given(seeds, st.integers(1, 6), st.integers(1, 3))
def test_i2_s_round_trip_and_layout(seed: int, quarter: int, blocks: int) -> None:
    """Value j of a block of 128 is in byte j % 32 at shift 6 - 2 * (j // 32)."""
    matrix = codes(seed, (4 * quarter, 128 * blocks))
    packed = packing.pack(matrix)
    stored = packing.packed_to_i2_s(packed)
    in_order = matrix.reshape(-1, 4, 32)
    expected = in_order[:, 0] << 6 | in_order[:, 1] << 4 | in_order[:, 2] << 2 | in_order[:, 3]
    np.testing.assert_array_equal(stored.reshape(-1, 32), expected)
    np.testing.assert_array_equal(packing.i2_s_to_packed(stored, 128 * blocks), packed)


def test_i2_s_over_many_chunks() -> None:
    packed = packing.pack(codes(1, (4 * 700, 1280)))
    np.testing.assert_array_equal(packing.i2_s_to_packed(packing.packed_to_i2_s(packed), 1280), packed)


@given(seed=seeds, blocks=st.integers(1, 5))
def test_tq2_0_round_trip(seed: int, blocks: int) -> None:
    matrix = codes(seed, (blocks, 256))
    stored = packing.codes_to_tq2_0(matrix)
    assert stored.shape == (blocks, 64)
    np.testing.assert_array_equal(packing.tq2_0_to_codes(stored), matrix)


@given(seed=seeds)
def test_tq1_0_and_tq2_0_equal_the_gguf_package(seed: int) -> None:
    matrix = codes(seed, (8, 512))
    matrix[0, :2] = 0, 2
    values = (matrix.astype(np.float32) - 1) * 0.5
    for quant, to_codes in ((gguf.quants.TQ1_0, packing.tq1_0_to_codes), (gguf.quants.TQ2_0, packing.tq2_0_to_codes)):
        stored = quant.quantize(values).reshape(16, -1)
        np.testing.assert_array_equal(to_codes(stored[:, :-2]), matrix.reshape(-1, 256))
    np.testing.assert_array_equal(packing.codes_to_tq2_0(matrix.reshape(-1, 256)), stored[:, :-2])


@given(st.binary(min_size=52, max_size=52))
def test_tq1_0_never_gives_code_3(block: bytes) -> None:
    assert packing.tq1_0_to_codes(np.frombuffer(block, np.uint8)[None]).max() <= 2
