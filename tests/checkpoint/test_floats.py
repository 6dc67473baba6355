"""Every stored float type decodes to the values of ggml's own package, and rounding to bfloat16 is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.checkpoint.floats import to_bfloat16, to_float32
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.mapped import MappedFile
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16

GENERATOR = np.random.default_rng(3)
VALUES = GENERATOR.normal(0, 1, (300, 512)).astype(np.float32)


def stored(folder: Path, dtype: str, data: NDArray[Any], shape: tuple[int, ...] | None = None) -> StoredTensor:
    path = folder / "tensor"
    path.write_bytes(data.tobytes())
    return StoredTensor("embed", dtype, shape or data.shape, 0, data.nbytes, MappedFile(path))


@pytest.mark.parametrize("name", ["Q8_0", "Q6_K"])
def test_blocks_equal_the_gguf_package(tmp_path: Path, name: str) -> None:
    quant = getattr(gguf.quants, name)
    if name == "Q8_0":
        data = quant.quantize(VALUES)
    else:  # the package only reads Q6_K: random bytes, but a finite float16 step at the end
        data = GENERATOR.integers(0, 256, (300 * 2, 210), np.uint8)
        data[:, 208:] = GENERATOR.uniform(0.001, 1, (600, 1)).astype(np.float16).view(np.uint8)
        data = data.reshape(300, -1)
    expected = quant.dequantize(data)
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
