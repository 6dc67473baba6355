"""Arrays of a mapped file know their region of it, release their pages, and keep the file open while they exist."""

import os
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.mapped import MappedFile, region_of
from tests.resident import resident_bytes

COUNT = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> MappedFile:
    path = tmp_path / "file"
    path.write_bytes(np.arange(COUNT, dtype=np.uint16).tobytes())
    return MappedFile(path)


def test_released_pages_leave_memory_and_are_read_again_unchanged(file: MappedFile) -> None:
    array = file.array(6, np.uint16, (COUNT - 3, 1))
    before = array.copy()
    assert resident_bytes(file.path) == file.size
    region = region_of(array)
    assert region is not None
    region.release()
    assert resident_bytes(file.path) <= 4096
    assert np.array_equal(array, before)


def test_pages_that_a_region_only_partly_covers_stay(file: MappedFile) -> None:
    file.array(0, np.uint8, (file.size,)).max()
    file.release(5000, 3000)
    assert resident_bytes(file.path) == file.size


def test_an_array_knows_its_region_of_the_file(file: MappedFile) -> None:
    array = file.array(170, np.uint16, (7, 9))
    region = region_of(array)
    assert region is not None
    assert (region.offset, region.size) == (170, array.nbytes)
    assert os.pread(region.file.descriptor, 18, region.offset) == array[0].tobytes()


def test_an_array_may_be_unaligned(file: MappedFile) -> None:
    array = file.array(3, np.uint16, (5,))
    assert array.tobytes() == file.read(3, 10)


def test_derived_arrays_have_no_region(file: MappedFile) -> None:
    array = file.array(0, np.uint16, (COUNT,))
    for derived in (array[8:], array.copy(), array + 1, array.view(np.uint8), np.asarray(array)):
        assert region_of(derived) is None


def test_the_file_is_closed_with_its_last_view(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    file = MappedFile(path)
    descriptor, array = file.descriptor, file.array(0, np.uint8, (100,))
    view = array[10:]
    del file, array
    os.fstat(descriptor)
    del view
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert MappedFile(path).read(0, 8) == b""


def test_arrays_in_memory_have_no_region() -> None:
    assert region_of(np.zeros(3)) is None
