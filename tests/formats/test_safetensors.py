"""Safetensors files are mapped without copies; a damaged or unsafe file gives an error that names it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.errors import BitNetError, CheckpointError
from bitnet_tt.formats.safetensors import read_file, read_folder
from tests.checkpoint.small import Tensors, config, safetensors_bytes, tensors

TWO: Tensors = {"a": ("F32", np.arange(6, dtype=np.float32).reshape(2, 3)), "b": ("U8", np.arange(5, dtype=np.uint8))}
WHOLE = safetensors_bytes(tensors())


def entry(dtype: str = "F32", shape: object = (2, 3), offsets: object = (0, 24)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_tensors_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(TWO))
    found = read_file(path)
    for name, (dtype, array) in TWO.items():
        assert (found[name].dtype, found[name].shape) == (dtype, array.shape)
        np.testing.assert_array_equal(found[name].array(), array)
    assert np.shares_memory(found["b"].array(), found["b"].raw())
    assert not found["b"].array().flags.writeable
    found["b"].release()
    np.testing.assert_array_equal(found["b"].array(), TWO["b"][1])


def test_misaligned_tensors_are_copied(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for padding in range(4):
        name = "a" + " " * padding
        path.unlink(missing_ok=True)
        path.write_bytes(safetensors_bytes({"b": TWO["b"], name: TWO["a"]}))
        array = read_file(path)[name].array()
        assert array.flags.aligned
        np.testing.assert_array_equal(array, TWO["a"][1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header does not fit"),
        (b"\xff" * 8 + b"{}", "header does not fit"),
        ((200_000_000).to_bytes(8, "little") + b"{}", "header does not fit"),
        (b"\x02" + b"\0" * 7 + b"[]", "not a JSON object"),
        (b"\x02" + b"\0" * 7 + b"{x", "not valid JSON"),
        ((4000).to_bytes(8, "little") + b"[" * 4000, "not valid JSON"),
        (safetensors_bytes(TWO)[:-1], "not two offsets inside the file"),
        (safetensors_bytes(TWO) + b"x", "header describes"),
        (safetensors_bytes(TWO, a=3), "not described by a JSON object"),
        (safetensors_bytes(TWO, a=entry(dtype="F7")), "unknown dtype 'F7'"),
        (safetensors_bytes(TWO, a=entry(shape="x")), "a shape that is not a list of sizes"),
        (safetensors_bytes(TWO, a=entry(shape=[2, -3])), "a shape that is not a list of sizes"),
        (safetensors_bytes(TWO, a=entry(shape=[2.0, 3])), "a shape that is not a list of sizes"),
        (safetensors_bytes(TWO, a=entry(shape=[True, 3])), "a shape that is not a list of sizes"),
        (safetensors_bytes(TWO, a=entry(shape=[2, 4])), "24 bytes, which does not match"),
        (safetensors_bytes(TWO, a=entry(offsets=[24, 0])), "not two offsets inside the file"),
        (safetensors_bytes(TWO, a=entry(offsets=[0])), "not two offsets inside the file"),
        (safetensors_bytes(TWO, a=entry(offsets=[4, 28])), "begins at byte"),
        (safetensors_bytes(TWO, c=entry()), "begins at byte"),
        (safetensors_bytes(TWO, c=entry(offsets=[2**47, 2**47 + 24])), "not two offsets inside the file"),
        (safetensors_bytes({"a": TWO["a"]}).replace(b'"__metadata__"', b'           "a"'), "occurs twice"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_file(path)
    assert str(path) in str(caught.value)


def test_shards(tmp_path: Path) -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    with pytest.raises(CheckpointError, match="has no model-00001-of-00002"):
        read_folder(tmp_path)
    for name, shard in shards.items():
        (tmp_path / shard).write_bytes(safetensors_bytes({name: TWO[name]}))
    assert read_folder(tmp_path).keys() == {"a", "b"}
    (tmp_path / shards["b"]).write_bytes(safetensors_bytes({"c": TWO["b"]}))
    with pytest.raises(CheckpointError, match=r"says that tensor b is in model-00002"):
        read_folder(tmp_path)
    (tmp_path / shards["b"]).write_bytes(safetensors_bytes(TWO))
    with pytest.raises(CheckpointError, match=r"tensor a is also in"):
        read_folder(tmp_path)
    index.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors\.index\.json"):
        read_folder(tmp_path)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "sub/x.safetensors", "model.bin"])
def test_shards_stay_in_their_folder(tmp_path: Path, shard: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="not a safetensors file beside it"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickles_are_refused_and_the_error_says_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"only as pickle .* never read here; use a revision"):
        read_folder(tmp_path)
    with pytest.raises(CheckpointError, match="holds no model"):
        read_folder(tmp_path.parent / tmp_path.name / "..")


@pytest.mark.parametrize("dtype", ["I8", "F64", "F8_E4M3"])
def test_other_element_types_are_refused(tmp_path: Path, dtype: str) -> None:
    stored = tensors() | {"model.norm.weight": (dtype, np.zeros(256, np.float64 if dtype == "F64" else np.int8))}
    (tmp_path / "config.json").write_text(json.dumps(config()))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(stored))
    with pytest.raises(CheckpointError, match=rf"tensor model\.norm\.weight has type {dtype}"):
        Checkpoint.open(tmp_path).load_weights()


def mutations(whole: bytes, header: int) -> st.SearchStrategy[bytes]:
    """A damaged file: truncated, with bits flipped (at least half of them in the header), or with another beginning."""
    places = st.one_of(st.integers(0, header - 1), st.integers(0, len(whole) - 1))
    flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)

    def flip(changes: list[tuple[int, int]]) -> bytes:
        changed = bytearray(whole)
        for place, mask in changes:
            changed[place] ^= mask
        return bytes(changed)

    cut = st.one_of(st.integers(0, header), st.integers(0, len(whole) - 1)).map(lambda size: whole[:size])
    return st.one_of(flips.map(flip), cut, st.binary(max_size=64).map(lambda start: start + whole[len(start) :]))


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(content=mutations(WHOLE, 8 + int.from_bytes(WHOLE[:8], "little")))
def test_any_file_loads_or_is_refused(tmp_path: Path, content: bytes) -> None:
    """For any bytes, loading succeeds or raises an error of ours, and takes less than 20 MB."""
    (tmp_path / "config.json").write_text(json.dumps(config()))
    path = tmp_path / "model.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        Checkpoint.open(tmp_path).load_weights()
    except BitNetError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017
    finally:
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(
    header=st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), inner, max_size=3)
            ),
        ),
        max_size=3,
    ),
    size=st.integers(0, 40),
)
def test_any_json_header(tmp_path: Path, header: dict[str, object], size: int) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    try:
        read_file(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017
