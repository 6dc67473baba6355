"""Every stored float type decodes to the values of ggml's own package, and rounding to bfloat16 is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitnet_tt.checkpoint.floats import to_bfloat16, to_float32
from bitnet_tt.checkpoint.gguf_blocks import DECODERS
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf import BLOCKS
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.mapped import MappedFile
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16

GENERATOR = np.random.default_rng(3)
VALUES = GENERATOR.normal(0, 1, (300, 512)).astype(np.float32)


def stored(folder: Path, dtype: str, data: NDArray[Any], shape: tuple[int, ...] | None = None) -> StoredTensor:
    path = folder / "tensor"
    path.write_bytes(data.tobytes())
    return StoredTensor("embed", dtype, shape or data.shape, 0, data.nbytes, MappedFile(path))


@pytest.mark.parametrize("name", sorted(DECODERS))
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 600))
def test_random_blocks_equal_the_gguf_package(name: str, seed: int, blocks: int) -> None:
    """Random bytes are every possible block: also steps that are negative, tiny, infinite or NaN."""
    data = np.random.default_rng(seed).integers(0, 256, (blocks, BLOCKS[name][1]), np.uint8)
    with np.errstate(all="ignore"):
        expected = getattr(gguf.quants, name).dequantize(data)
        found = DECODERS[name](data)
    assert found.dtype == np.float32
    assert found.size == blocks * BLOCKS[name][0]
    found = found.reshape(expected.shape)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    np.testing.assert_array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_tensor_of_blocks(tmp_path: Path, name: str) -> None:
    values, size = BLOCKS[name]
    rows = (300, 512 // values * size)
    with np.errstate(all="ignore"):
        data = GENERATOR.integers(0, 256, rows, np.uint8)
        expected = getattr(gguf.quants, name).dequantize(data)
        tensor = stored(tmp_path, name, data, (300, 512))
        np.testing.assert_array_equal(to_float32(tensor), expected)
        bits, exact = to_bfloat16(tensor)
        assert not exact
        np.testing.assert_array_equal(bits, float32_to_bfloat16(expected))


def test_bfloat16_is_not_copied(tmp_path: Path) -> None:
    tensor = stored(tmp_path, "BF16", float32_to_bfloat16(VALUES))
    bits, exact = to_bfloat16(tensor)
    assert exact
    assert np.shares_memory(bits, tensor.raw())


@pytest.mark.parametrize(("dtype", "element"), [("F32", np.float32), ("F16", np.float16)])
def test_rounding_is_reported(tmp_path: Path, dtype: str, element: type[Any]) -> None:
    short = bfloat16_to_float32(float32_to_bfloat16(np.abs(VALUES) + 0.25))
    bits, exact = to_bfloat16(stored(tmp_path, dtype, short.astype(element)))
    assert exact
    np.testing.assert_array_equal(bfloat16_to_float32(bits), short)
    assert not to_bfloat16(stored(tmp_path, dtype, VALUES.astype(element)))[1]


def test_packed_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"embed has type U8 instead of floats"):
        to_float32(stored(tmp_path, "U8", np.zeros((4, 4), np.uint8)))
