"""Master weights are quantised exactly as the numerics contract says; ternary floats keep their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from bitnet_tt.checkpoint.packing import unpack
from bitnet_tt.checkpoint.quantize import pack_unpacked, quantize_master
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.mapped import MappedFile
from bitnet_tt.reference import quantize_weights
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16


def stored(folder: Path, dtype: str, data: NDArray[Any]) -> StoredTensor:
    path = folder / "tensor"
    path.unlink(missing_ok=True)
    path.write_bytes(data.tobytes())
    return StoredTensor("q_proj", dtype, data.shape, 0, data.nbytes, MappedFile(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.sampled_from([4, 8, 20]), st.integers(1, 9)),
        elements=st.one_of(
            st.floats(-4, 4, width=32), st.sampled_from([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]), st.just(2.0**-23)
        ),
    )
)
def test_masters_follow_the_contract(tmp_path: Path, weights: NDArray[np.float32]) -> None:
    expected, scale = quantize_weights(weights)
    packed, ours = quantize_master(stored(tmp_path, "F32", weights))
    assert ours == scale
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(unpack(packed).astype(np.float32) - 1, expected)


@given(st.floats(2**-20, 2**20, width=32), st.integers(-3, 3))
def test_half_a_scale_is_the_threshold(scale: float, steps: int) -> None:
    """rint(W / w) is 0 exactly where |W| <= w / 2, at every float32 around w / 2."""
    w = np.float32(scale)
    value = w / np.float32(2)
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.float32(np.inf if steps > 0 else 0))
    assert (np.rint(value / w) == 0) == (value <= w / np.float32(2))


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_master_types_and_many_chunks(tmp_path: Path, dtype: str) -> None:
    weights = np.random.default_rng(0).normal(0, 0.02, (1600, 700)).astype(np.float32)
    bits = float32_to_bfloat16(weights)
    data: NDArray[Any] = {"BF16": bits, "F16": weights.astype(np.float16), "F32": weights}[dtype]
    values = bfloat16_to_float32(bits) if dtype == "BF16" else data.astype(np.float32)
    packed, scale = quantize_master(stored(tmp_path, dtype, data))
    expected, expected_scale = quantize_weights(values)
    np.testing.assert_array_equal(unpack(packed).astype(np.float32) - 1, expected)
    assert scale == expected_scale


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_masters_with_nan_are_refused(tmp_path: Path, bad: float) -> None:
    weights = np.ones((8, 8), np.float32)
    weights[3, 3] = bad
    with pytest.raises(CheckpointError, match=r"tensor q_proj holds NaN or infinity"):
        quantize_master(stored(tmp_path, "F32", weights))


def test_unpacked_ternary(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 3, (400, 900)).astype(np.uint8)
    values = codes.astype(np.float32) - 1
    tensor = stored(tmp_path, "BF16", float32_to_bfloat16(values))
    np.testing.assert_array_equal(unpack(pack_unpacked(tensor)), codes)
    values[399, 899] = 0.5
    with pytest.raises(CheckpointError, match=r"values other than -1, 0 and 1"):
        pack_unpacked(stored(tmp_path, "F32", values))
