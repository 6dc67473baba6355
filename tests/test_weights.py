import os
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.formats.tensor import MappedFile
from bitnet_tt.weights import file_place, is_mapped, release_pages
from tests.resident import resident_bytes


@pytest.fixture
def file(tmp_path: Path) -> MappedFile:
    path = tmp_path / "file"
    path.write_bytes(np.arange(1 << 20, dtype=np.uint16).tobytes())
    return MappedFile(path)


def test_released_pages_leave_memory_and_come_back_the_same(file: MappedFile) -> None:
    array = file.view(0, file.size).view(np.uint16)[3:].reshape(-1, 1)
    before = array.copy()
    assert resident_bytes(file.path) == file.size
    release_pages(array)
    assert resident_bytes(file.path) <= 4096
    assert np.array_equal(array, before)


def test_pages_shared_with_neighbours_stay(file: MappedFile) -> None:
    whole = file.view(0, file.size)
    whole.max()
    release_pages(whole[5000:8000])
    assert resident_bytes(file.path) == file.size


def test_the_place_in_the_file(file: MappedFile) -> None:
    array = file.view(0, file.size).view(np.uint16)[76:].reshape(-1, 9)[2:]
    place = file_place(array)
    assert place is not None
    assert os.pread(place[0], 18, place[1]) == array[0].tobytes()


def test_the_file_is_closed_with_its_map(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    file = MappedFile(path)
    view = file.view(0, 100)
    place = file_place(view)
    assert place is not None
    del file
    os.fstat(place[0])
    del view
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place[0])


def test_arrays_in_memory_are_left_alone() -> None:
    array = np.full(1 << 20, 7, np.uint8)
    assert file_place(array) is None
    assert not is_mapped(array)
    release_pages(array)
    assert np.all(array == 7)
