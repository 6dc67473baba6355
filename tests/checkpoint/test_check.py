"""The checks at load find every damaged value, wherever it is, and accept what trained models contain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt._native import all_finite, count_codes
from bitnet_tt.checkpoint.check import check_finite, check_packed, check_scale
from bitnet_tt.checkpoint.packing import pack
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.mapped import MappedFile
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16
from tests.checkpoint.small import random_codes


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> StoredTensor:
    path = tmp_path_factory.mktemp("check") / "model.safetensors"
    path.touch()
    return StoredTensor("mlp.down_proj.weight", "U8", (1, 1), 0, 1, MappedFile(path))


@given(columns=st.integers(1, 4000), place=st.floats(0, 0.999), quarter=st.integers(0, 3))
def test_code_3_is_found_anywhere(tensor: StoredTensor, columns: int, place: float, quarter: int) -> None:
    packed = pack(random_codes((40, columns)))
    check_packed(tensor, packed)
    packed.reshape(-1)[int(place * packed.size)] |= 3 << 2 * quarter
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor mlp\.down_proj\.weight holds the code 3"):
        check_packed(tensor, packed)


def test_code_3_in_a_later_chunk(tensor: StoredTensor) -> None:
    packed = pack(random_codes((4000, 1001)))
    check_packed(tensor, packed)
    packed[-1, -1] = 0b11000000
    with pytest.raises(CheckpointError, match="code 3"):
        check_packed(tensor, packed)


@pytest.mark.parametrize(("code", "message"), [(0, "same value"), (1, "is zero in"), (2, "same value")])
@pytest.mark.parametrize("share", [0.995, 1.0])
def test_erased_tensors_are_refused(tensor: StoredTensor, code: int, message: str, share: float) -> None:
    codes = random_codes((400, 501))
    codes.reshape(-1)[: int(codes.size * share)] = code
    with pytest.raises(CheckpointError, match=message):
        check_packed(tensor, pack(codes))


def test_dead_channels_and_binary_weights_pass(tensor: StoredTensor) -> None:
    codes = random_codes((400, 500))
    codes[:380] = 1
    check_packed(tensor, pack(codes))
    check_packed(tensor, pack(np.where(random_codes((400, 500)) == 0, np.uint8(0), np.uint8(2))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("narrow", [True, False])
def test_nan_and_infinity_are_found(tensor: StoredTensor, bad: float, narrow: bool) -> None:
    values = np.full((500, 1000), 3e38, np.float32)
    convert = float32_to_bfloat16 if narrow else np.copy
    check_finite(tensor, convert(values))
    values[-1, -1] = bad
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        check_finite(tensor, convert(values))


@given(values=st.lists(st.integers(0, 0xFFFF), max_size=200), odd=st.booleans())
def test_every_bfloat16_is_judged_as_by_numpy(tensor: StoredTensor, values: list[int], odd: bool) -> None:
    stored = np.frombuffer(b"\0" * odd + np.array(values, np.uint16).tobytes(), np.uint16, len(values), int(odd))
    if np.isfinite(bfloat16_to_float32(stored.copy())).all():
        check_finite(tensor, stored)
    else:
        with pytest.raises(CheckpointError, match="NaN or infinity"):
            check_finite(tensor, stored)


@given(size=st.integers(1, 20_000), threads=st.integers(1, 5))
def test_codes_are_counted_on_any_number_of_threads(size: int, threads: int) -> None:
    codes = random_codes((4, size), seed=size)
    counts = count_codes(pack(codes).reshape(-1), threads)
    assert counts == (0, *np.bincount(codes.reshape(-1), minlength=3))


def test_every_thread_checks_its_part_of_a_large_array(tensor: StoredTensor) -> None:
    codes = random_codes((4, 3_000_001))
    packed = pack(codes).reshape(-1)
    assert count_codes(packed, 4) == (0, *np.bincount(codes.reshape(-1), minlength=3))
    values = np.full(3_000_001, 0x7F7F, np.uint16)
    for place in (0, 800_000, 1_600_000, 3_000_000):
        assert all_finite(values.view(np.uint8), 4)
        values[place] = 0x7F80
        assert not all_finite(values.view(np.uint8), 4)
        values[place] = 0


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_are_positive(tensor: StoredTensor, scale: float) -> None:
    with pytest.raises(CheckpointError, match="must be finite and above 0"):
        check_scale(tensor, np.float32(scale))
