import re
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.checkpoint.tensor import MappedFile
from bitnet_tt.weights import is_mapped, release_pages


def resident_bytes(path: Path) -> int:
    """How much of a file this process has in memory, by the kernel's account of its mappings."""
    maps = Path("/proc/self/smaps").read_text()
    return 1024 * sum(int(size) for size in re.findall(rf"{path}\n(?:.*\n)*?Rss: +(\d+) kB", maps))


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


def test_arrays_in_memory_are_left_alone() -> None:
    array = np.full(1 << 20, 7, np.uint8)
    assert not is_mapped(array)
    release_pages(array)
    assert np.all(array == 7)
