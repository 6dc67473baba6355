"""A split GGUF model loads bit for bit as the whole one, by any part; wrong or missing parts give a clear error."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.errors import BitNetError, CheckpointError
from bitnet_tt.formats.gguf import part_names, read, read_metadata
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import TernaryMatrix
from tests.checkpoint.small_gguf import write_with_gguf_package
from tests.formats.split_gguf import INT32, STRING, UINT16, Part, name_of, parts_of, split_pairs, write_parts
from tests.formats.test_safetensors import mutations

TENSORS = 24
"""The number of tensors of `small.tensors()` in a GGUF file."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_with_gguf_package(tmp_path_factory.mktemp("gguf") / "whole.gguf", embedding="BF16")
    assert len(read(path).tensors) == TENSORS
    return path


def write_split(folder: Path, whole: Path, sizes: Sequence[int] = (9, 8, 7)) -> list[Path]:
    return write_parts(folder, parts_of(whole, sizes))


def assert_same_model(path: Path, whole: Path) -> None:
    """Both load with the same bits, the same configuration and the same tensors."""
    one, other = read(path), read(whole)
    assert {key: value for key, value in one.metadata.items() if not key.startswith("split.")} == other.metadata
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert (tensor.dtype, tensor.shape) == (other.tensors[name].dtype, other.tensors[name].shape)
        np.testing.assert_array_equal(tensor.raw(), other.tensors[name].raw(), err_msg=name)


def weights_of(path: Path) -> dict[str, Any]:
    checkpoint = Checkpoint.open(path)
    return dict(named_weights(checkpoint.config, checkpoint.load_weights()))


@pytest.mark.parametrize("ending", [".gguf", ".GGUF"])
@pytest.mark.parametrize("sizes", [(9, 8, 7), (0, 24), (0, 1, 23), (24, 0), (1,) * 24])
def test_any_part_loads_the_model(tmp_path: Path, whole: Path, sizes: Sequence[int], ending: str) -> None:
    """gguf-split may put no tensor into the first part."""
    paths = write_parts(tmp_path, parts_of(whole, sizes), "some model.v1", ending)
    expected = weights_of(whole)
    for path in {paths[0], paths[1], paths[-1]}:
        assert_same_model(path, whole)
        assert read_metadata(path) == read(path).metadata
        checkpoint = Checkpoint.open(path)
        assert checkpoint.config == Checkpoint.open(whole).config
        assert [file.path for file in checkpoint.files] == paths
        for name, value in weights_of(path).items():
            if isinstance(value, TernaryMatrix):
                assert value.scale == expected[name].scale
                np.testing.assert_array_equal(value.packed, expected[name].packed, err_msg=name)
            else:
                np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_what_the_gguf_package_splits(tmp_path: Path) -> None:
    whole = write_with_gguf_package(tmp_path / "whole.gguf")
    write_with_gguf_package(tmp_path / "model.gguf", split_max_tensors=10)
    paths = sorted(tmp_path.glob("model-*.gguf"))
    assert [path.name for path in paths] == [name_of(number, 3) for number in range(3)]
    assert_same_model(paths[2], whole)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(0, TENSORS), max_size=8), order=st.randoms(use_true_random=False), data=st.data())
def test_random_splits_load_the_same_bits(
    tmp_path: Path, whole: Path, cuts: list[int], order: Any, data: st.DataObject
) -> None:
    bounds = [0, *sorted(cuts), TENSORS]
    parts = parts_of(whole, [after - before for before, after in itertools.pairwise(bounds)])
    tensors = [tensor for part in parts for tensor in part.tensors]
    order.shuffle(tensors)
    for part in parts:
        part.tensors = [tensors.pop() for _ in part.tensors]
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)
    paths = write_parts(tmp_path / "parts", parts)
    assert_same_model(paths[data.draw(st.integers(0, len(paths) - 1))], whole)


values = st.one_of(
    st.tuples(st.just(UINT16), st.integers(0, 65535)),
    st.tuples(st.just(INT32), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(10), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(6), st.floats(width=32)),
    st.tuples(st.just(7), st.booleans()),
    st.tuples(st.just(STRING), st.text(max_size=3)),
)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_damage_is_refused(tmp_path: Path, whole: Path, data: st.DataObject) -> None:
    """Parts that are exchanged, removed, renamed, repeated, edited or damaged load the same bits or give our error."""
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)
    parts = parts_of(whole, (9, 0, 8, 7))
    for part in map(parts.__getitem__, data.draw(st.lists(st.integers(0, 3), max_size=2))):
        key = data.draw(st.sampled_from(sorted(part.pairs) or ["split.no"]))
        if data.draw(st.booleans()):
            part.pairs.pop(key, None)
        else:
            part.pairs[key] = data.draw(values)
    paths = write_parts(tmp_path / "parts", parts)
    for path in data.draw(st.lists(st.sampled_from(paths), max_size=2)):
        action = data.draw(st.sampled_from(["remove", "rename", "copy", "damage"]))
        other = data.draw(st.sampled_from(paths))
        if not path.exists() or path == other or not path.stat().st_size:
            continue
        if action == "remove":
            path.unlink()
        elif action == "rename":
            path.rename(other)
        elif action == "copy":
            shutil.copy(path, other)
        else:
            path.write_bytes(data.draw(mutations(path.read_bytes(), min(2000, path.stat().st_size))))
    start = data.draw(st.sampled_from(paths))
    try:
        Checkpoint.open(start).load_weights()
    except BitNetError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017
        assert "config.json" not in str(error)  # noqa: PT017
    try:
        read_metadata(start)
    except CheckpointError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017


def refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(path)
    assert str(caught.value) == message.replace("FOLDER", str(path.parent))
    assert "config.json" not in str(caught.value)


def test_missing_parts_are_named(tmp_path: Path, whole: Path) -> None:
    paths = write_split(tmp_path, whole)
    paths[0].unlink()
    refused(
        paths[1],
        "FOLDER/model-00002-of-00003.gguf is part 2 of 3 of a split model, but model-00001-of-00003.gguf is missing; "
        "download all parts into the same folder",
    )
    with pytest.raises(CheckpointError, match="is part 2 of 3 of a split model, but model-00001-of-00003"):
        read_metadata(paths[1])
    paths = write_split(tmp_path / "many", whole, (1,) * 24)
    for path in paths[1:]:
        path.unlink()
    refused(
        paths[0],
        "FOLDER/model-00001-of-00024.gguf is part 1 of 24 of a split model, but "
        + ", ".join(name_of(number, 24) for number in range(1, 6))
        + " and 18 more are missing; download all parts into the same folder",
    )


@pytest.mark.parametrize("name", ["part.gguf", "model-00002-of-00003.gguf", "model-00001-of-00004.gguf"])
def test_a_renamed_part_is_refused(tmp_path: Path, whole: Path, name: str) -> None:
    path = write_split(tmp_path, whole)[0].rename(tmp_path / name)
    refused(
        path,
        f"FOLDER/{name} is part 1 of 3 of a split model, but its name does not end in -00001-of-00003.gguf, by which "
        "the other parts are found; give it its original name, and download all parts into the same folder",
    )


def test_parts_of_another_model_are_refused(tmp_path: Path, whole: Path) -> None:
    paths = write_split(tmp_path, whole)
    shutil.copy(paths[1], paths[2])
    message = (
        "FOLDER/model-00003-of-00003.gguf is not part 3 of 3 of this split model: it has split.no 1, split.count 3 and "
        "split.tensors.count 24; download all parts again"
    )
    refused(paths[0], message)
    refused(paths[1], message)
    paths = write_split(tmp_path, whole)
    Part(parts_of(whole, (9, 8, 7))[2].tensors, split_pairs(2, 3, 99)).write(paths[2])
    refused(paths[0], message.replace("split.no 1", "split.no 2").replace("24;", "99;"))
    Part([], split_pairs(2, 3, 24)).write(paths[2])
    refused(
        paths[0],
        "FOLDER/model-00001-of-00003.gguf says that the parts have 24 tensors (split.tensors.count), but they have 17; "
        "download all parts again",
    )
    parts = parts_of(whole, (9, 8, 7))
    parts[2].tensors = [*parts[2].tensors[1:], parts[0].tensors[0]]
    paths = write_parts(tmp_path, parts)
    refused(
        paths[0],
        f"FOLDER/model-00003-of-00003.gguf: tensor {parts[0].tensors[0].name} is also in model-00001-of-00003.gguf; "
        "download both files again",
    )


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ({"split.count": (STRING, "3")}, "has split.count '3', which is not a number from 0 to 65535"),
        ({"split.count": (INT32, -3)}, "has split.count -3, which is not a number from 0 to 65535"),
        ({"split.no": (6, 0.0)}, "has split.no 0.0, which is not a number from 0 to 65535"),
        ({"split.no": (7, False)}, "has split.no False, which is not a number from 0 to 65535"),
        ({"split.no": (UINT16, 3)}, "says that it is part 4 of 3 of a split model"),
        ({"split.count": (UINT16, 0), "split.no": (UINT16, 1)}, "says that it is part 2 of 0 of a split model"),
        ({"split.tensors.count": (STRING, "24")}, "split.tensors.count 24; download all parts again"),
    ],
)
def test_damaged_split_keys_are_refused(
    tmp_path: Path, whole: Path, pair: dict[str, tuple[int, Any]], message: str
) -> None:
    parts = parts_of(whole, (9, 8, 7))
    parts[0].pairs |= pair
    path = write_parts(tmp_path, parts)[0]
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("name", ["model.gguf", "model-00001-of-00001.gguf", "model-00002-of-00003.gguf"])
def test_a_file_with_a_count_below_two_is_whole(tmp_path: Path, whole: Path, count: int, name: str) -> None:
    """gguf-split writes a count of 1 if one part is enough, and a count of 0 when it merges parts."""
    parts = parts_of(whole, (TENSORS,))
    parts[0].pairs = split_pairs(0, count, TENSORS)
    parts[0].write(tmp_path / name)
    assert_same_model(tmp_path / name, whole)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a-00002-of-00003.gguf", ["a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"]),
        ("x/b-00001-of-00002.GGUF", ["x/b-00001-of-00002.GGUF", "x/b-00002-of-00002.GGUF"]),
        ("a-00001-of-00001.gguf", ["a-00001-of-00001.gguf"]),
        ("a-00000-of-00002.gguf", ["a-00000-of-00002.gguf"]),
        ("a-00003-of-00002.gguf", ["a-00003-of-00002.gguf"]),
        ("a-1-of-2.gguf", ["a-1-of-2.gguf"]),
        ("a-٠٠٠٠١-of-٠٠٠٠٢.gguf", ["a-٠٠٠٠١-of-٠٠٠٠٢.gguf"]),
    ],
)
def test_names_of_parts(name: str, names: list[str]) -> None:
    assert part_names(name) == names


def test_arrays_know_their_part(tmp_path: Path, whole: Path) -> None:
    """Backends read rows of the embedding from its file, and release pages of it."""
    paths = write_split(tmp_path, whole, (0, 1, 23))
    region = region_of(Checkpoint.open(paths[0]).load_weights().embed_tokens)
    assert region is not None
    assert region.file.path == paths[1]
    assert region.offset == read(paths[0]).tensors["token_embd.weight"].offset
