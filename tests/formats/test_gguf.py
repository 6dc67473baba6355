"""GGUF files go both ways between us and ggml's own package; a damaged file gives an error that names it."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.errors import BitNetError, CheckpointError
from bitnet_tt.formats.gguf import GGUFTensor, read, read_metadata, write_gguf
from tests.checkpoint.small_gguf import write_with_gguf_package
from tests.formats.gguf_bytes import header, tensor_entry, text
from tests.formats.test_safetensors import mutations

VALUES: dict[str, Any] = {
    "general.architecture": "bitnet",
    "text": "é🙂",
    "empty": "",
    "flag": True,
    "count": 2**32 - 1,
    "number": 1e-5,
    "tokens": ["a", "", "ü"],
    "types": [1, -2, 3],
    "scores": [0.5, -1.5],
}
ARRAY = np.arange(8, dtype=np.float32)


def write(path: Path, **metadata: Any) -> Path:
    """A file of two equal tensors, with `VALUES` and some more metadata."""
    tensors = [GGUFTensor.of_rows(name, "F32", ARRAY.reshape(2, 4)) for name in ("a", "b")]
    write_gguf(path, VALUES | metadata, tensors)
    return path


def test_what_we_write_we_read(tmp_path: Path) -> None:
    file = read(write(tmp_path / "x.gguf"))
    assert file.metadata == VALUES
    assert list(file.tensors) == ["a", "b"]
    for tensor in file.tensors.values():
        assert (tensor.shape, tensor.offset % 32) == ((2, 4), 0)
        np.testing.assert_array_equal(tensor.array(), ARRAY.reshape(2, 4))


def test_rows_of_a_large_tensor_are_converted_in_order(tmp_path: Path) -> None:
    values = np.arange(2500 * 3, dtype=np.float32).reshape(2500, 3)
    seen: list[tuple[int, int]] = []
    tensor = GGUFTensor.of_rows("t", "F16", values, lambda rows: (rows / 8).astype(np.float16))
    write_gguf(tmp_path / "x.gguf", {}, [tensor], lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(read(tmp_path / "x.gguf").tensors["t"].array(), (values / 8).astype(np.float16))
    assert len(seen) > 1
    assert seen[-1][0] == tensor.size


def test_what_we_write_the_gguf_package_reads(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(write(tmp_path / "x.gguf"))
    for key, value in VALUES.items():
        assert reader.get_field(key).contents() == pytest.approx(value)
    assert [(tensor.name, tensor.data.tolist()) for tensor in reader.tensors] == [
        ("a", ARRAY.reshape(2, 4).tolist()),
        ("b", ARRAY.reshape(2, 4).tolist()),
    ]


def test_what_the_gguf_package_writes_we_read(tmp_path: Path) -> None:
    path = write_with_gguf_package(tmp_path / "x.gguf")
    metadata = read_metadata(path)
    assert metadata["tokenizer.ggml.tokens"][:2] == ["token0", "token1"]
    assert metadata["bitnet-b1.58.attention.layer_norm_rms_epsilon"] == 1e-5
    assert read(path).tensors["blk.0.ffn_down.weight"].shape == (256, 512)


def test_version_2_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes().replace(b"GGUF\3", b"GGUF\2", 1))
    assert read(path).metadata == VALUES


def array(value: int | str | list[Any]) -> tuple[int, bytes]:
    """The type id and the bytes of a metadata value. The items of a list have the type of its first."""
    if isinstance(value, int):
        return 5, struct.pack("<i", value)
    if isinstance(value, str):
        return 8, text(value.encode())
    items = [array(item) for item in value]
    return 9, struct.pack("<IQ", items[0][0] if items else 5, len(items)) + b"".join(item for _, item in items)


def nested(depth: int) -> bytes:
    """A key and an array with `depth` levels."""
    return text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * (depth - 1) + struct.pack("<IQi", 5, 1, 7)


def test_the_deepest_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(pairs=1, rest=nested(16) + bytes(32)))
    value = read_metadata(path)["k"]
    for _ in range(15):
        (value,) = value
    assert value == [7]


same_kind = st.recursive(
    st.lists(st.integers(-9, 9), max_size=3) | st.lists(st.text(max_size=3), max_size=3),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=list(HealthCheck))
@given(value=same_kind)
def test_nested_arrays_are_read(tmp_path: Path, value: list[Any]) -> None:
    """The key after the array is read too, so that every byte of the array was taken."""
    path = tmp_path / "x.gguf"
    rest = text(b"k") + struct.pack("<I", 9) + array(value)[1] + text(b"after") + struct.pack("<Ii", 5, 1)
    path.write_bytes(header(pairs=2, rest=rest))
    assert read_metadata(path) == {"k": value, "after": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a GGUF file"),
        (b"GGML" + bytes(60), "is not a GGUF file"),
        (header(version=1), "GGUF version 1"),
        (header(version=0x03000000), "GGUF version 50331648"),
        (b"GGUF\3\0\0\0", "inside its header"),
        (header(tensors=2**63), "more than fit in the file"),
        (header(pairs=2**40), "more than fit in the file"),
        (header(pairs=1, rest=struct.pack("<Q", 2**60) + bytes(20)), "more than fit in the file"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<I", 77) + bytes(8)), "unknown type 77"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 13, 1) + bytes(8)), "array of unknown type 13"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 9, 2) + bytes(20)), "more than fit in the file"),
        (header(pairs=1, rest=nested(17)), "nested more than 16 deep, which is not supported"),
        (header(pairs=1, rest=nested(10_000)), "nested more than 16 deep"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 4, 2**61)), "more than fit in the file"),
        (header(pairs=2, rest=(text(b"k") + struct.pack("<II", 4, 1)) * 2), "'k' twice"),
        (header(pairs=1, rest=text(b"k" * 65536) + struct.pack("<II", 4, 1)), "a metadata key longer than 65535"),
        (header(1, 0, tensor_entry(dims=()) + bytes(64)), "0 dimensions"),
        (header(1, 0, tensor_entry(dims=(1,) * 5) + bytes(64)), "5 dimensions"),
        (header(1, 0, tensor_entry(dims=(0, 4)) + bytes(64)), "not whole blocks"),
        (header(1, 0, tensor_entry(dims=(100,), kind=36) + bytes(200)), "not whole blocks of I2_S"),
        (header(1, 0, tensor_entry(dims=(2**62, 2**62)) + bytes(64)), "but the file has only"),
        (header(1, 0, tensor_entry(offset=2**60) + bytes(64)), "but the file has only"),
        (header(1, 0, tensor_entry(offset=4) + bytes(90)), "inside another tensor or not aligned"),
        (header(2, 0, tensor_entry(b"a") + tensor_entry(b"b") + bytes(90)), "inside another tensor"),
        (header(2, 0, tensor_entry() + tensor_entry(offset=32) + bytes(120)), "occurs twice"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


INSTEAD = "download a file with I2_S, TQ1_0 or TQ2_0 weights, or the safetensors of this model"
NEWER = "the file may be newer than this version of BitNet-TT; update BitNet-TT"


@pytest.mark.parametrize(
    ("type_id", "message"),
    [
        (38, "type TL1, whose layout depends on the machine that made the file; download the I2_S file"),
        (39, "type TL2, whose layout depends on the machine that made the file; download the I2_S file"),
        (4, f"type Q4_2, which GGUF files no longer have; {INSTEAD}"),
        (5, f"type Q4_3, which GGUF files no longer have; {INSTEAD}"),
        (31, f"type Q4_0_4_4, which GGUF files no longer have; {INSTEAD}"),
        (33, f"type Q4_0_8_8, which GGUF files no longer have; {INSTEAD}"),
        (15, f"type Q8_K, which cannot be read; {INSTEAD}"),
        (21, f"type IQ3_S, which cannot be read; {INSTEAD}"),
        (37, f"type I8_S, which cannot be read; {INSTEAD}"),
        (40, f"type NVFP4, which cannot be read; {INSTEAD}"),
        (41, "type Q1_0, which cannot be read; download a file with Q2_0 or PQ2_0 weights"),
        (143, "type PTQ1_0, which cannot be read; download a file with Q2_0 or PQ2_0 weights"),
        (43, f"the unknown type 43: {NEWER}, or {INSTEAD}"),
        (2**32 - 1, f"the unknown type 4294967295: {NEWER}, or {INSTEAD}"),
    ],
)
def test_types_that_are_not_read_are_named(tmp_path: Path, type_id: int, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(1, 0, tensor_entry(dims=(256, 4), kind=type_id) + bytes(4096)))
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: tensor t has {message}")


@pytest.mark.parametrize("alignment", [32, 4096])
@pytest.mark.parametrize(
    ("type_id", "block", "name"),
    [
        (36, (32, 18), "IQ4_NL_4_4, which GGUF files no longer have"),
        (37, (32, 18), "IQ4_NL_4_8, which GGUF files no longer have"),
        (38, (32, 18), "IQ4_NL_8_8, which GGUF files no longer have"),
        (39, (32, 17), "MXFP4, which cannot be read"),
        (39, (8, 2), "TL2, whose layout"),
        (38, (4, 1), "TL1, whose layout"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_the_size_of_a_tensor_tells_which_meaning_its_type_has(
    tmp_path: Path, type_id: int, block: tuple[int, int], name: str, alignment: int, last: bool
) -> None:
    """Ids that mean one thing in ggml and another in bitnet.cpp or an older file."""
    size = 8192 * 64 // block[0] * block[1]
    padded = size + -size % alignment
    entries = tensor_entry(b"t", (8192, 64), type_id) + (b"" if last else tensor_entry(b"u", offset=padded))
    pair = text(b"general.alignment") + struct.pack("<II", 4, alignment)
    start = header(1 if last else 2, 1, pair + entries)
    path = tmp_path / "x.gguf"
    path.write_bytes(start + bytes(-len(start) % alignment) + bytes(size if last else padded + 32))
    with pytest.raises(CheckpointError, match=rf"tensor t has type {name}"):
        read(path)


@pytest.mark.parametrize(("block", "dtype"), [((64, 18), "Q2_0"), ((128, 34), "Q2_0 in blocks of 128")])
@pytest.mark.parametrize("last", [False, True])
def test_the_size_of_q2_0_tells_its_blocks(tmp_path: Path, block: tuple[int, int], dtype: str, last: bool) -> None:
    """Prism ML's older files have id 42 with blocks of 128. Where both take the same room, the tensor is refused."""
    path = tmp_path / "x.gguf"
    for rows in (64, 4):
        size = 256 * rows // block[0] * block[1]
        padded = size + -size % 32
        entries = tensor_entry(b"t", (256, rows), 42) + (b"" if last else tensor_entry(b"u", offset=padded))
        start = header(1 if last else 2, 0, entries)
        path.write_bytes(start + bytes(-len(start) % 32) + bytes(padded if last else padded + 32))
        if rows == 64:
            assert read(path).tensors["t"].dtype == dtype
        else:
            with pytest.raises(CheckpointError, match=r"tensor t has type Q2_0 in blocks of 64 or 128"):
                read(path)


@pytest.mark.parametrize("alignment", ["32", 3, 0, 2**31, True])
def test_alignment_is_a_power_of_two(tmp_path: Path, alignment: Any) -> None:
    path = write(tmp_path / "x.gguf", **{"general.alignment": alignment})
    with pytest.raises(CheckpointError, match="not a power of two"):
        read(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_with_gguf_package(tmp_path_factory.mktemp("gguf") / "x.gguf").read_bytes()


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_file_loads_or_is_refused(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    """For any bytes, loading succeeds or raises an error of ours, and takes less than 20 MB."""
    path = tmp_path / "x.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(data.draw(mutations(whole, 4000)))
    tracemalloc.start()
    try:
        Checkpoint.open(path).load_weights()
    except BitNetError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert "config.json" not in str(error)  # noqa: PT017
    finally:
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200), counts=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_random_bytes_after_a_correct_start(tmp_path: Path, content: bytes, counts: tuple[int, int]) -> None:
    path = tmp_path / "x.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(header(*counts, content))
    try:
        read(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017
