"""Memory-mapped files, and arrays that lie in one and know where.

The reader of a file sets the region when it makes the array. Backends use it to read single rows with pread, and to
give pages back that they have copied.
"""

from __future__ import annotations

import mmap
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bitnet_tt.errors import CheckpointError


class MappedFile:
    """A whole file, mapped read-only. The system reads its pages when they are touched.

    The mapping and the descriptor stay open as long as this object, or any array of the file or view of one, is alive.

    Attributes:
        path: The file.
        size: Its bytes.
        descriptor: Its open descriptor, for pread; -1 for an empty file.
    """

    def __init__(self, path: Path) -> None:
        """Open and map a file.

        Raises:
            CheckpointError: The file cannot be opened.
        """
        self.path = path
        self.descriptor = -1
        self._map: mmap.mmap | bytes = b""
        try:
            with path.open("rb") as file:
                self.size = path.stat().st_size
                if self.size:
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    self.descriptor = os.dup(file.fileno())
                    weakref.finalize(self._map, os.close, self.descriptor)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error

    def read(self, offset: int, size: int) -> bytes:
        """Copy bytes out; fewer than `size` where the file ends."""
        return self._map[offset : min(offset + size, self.size)]

    def array(self, offset: int, dtype: DTypeLike, shape: tuple[int, ...]) -> MappedArray:
        """Return the array that lies at `offset`, without a copy; it may be unaligned.

        The caller has checked that it lies within the file.
        """
        array = MappedArray(shape, dtype, self._map, offset)
        array.region = FileRegion(self, offset, array.nbytes)
        return array

    def release(self, offset: int, size: int) -> None:
        """Let the system drop the pages that lie wholly within a region; a later access reads them again."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (offset + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > start and isinstance(self._map, mmap.mmap):
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)


@dataclass(frozen=True, slots=True)
class FileRegion:
    """Consecutive bytes of a mapped file.

    Attributes:
        file: The file.
        offset: Where the region begins, in bytes.
        size: Its length in bytes.
    """

    file: MappedFile
    offset: int
    size: int

    def release(self) -> None:
        """See `MappedFile.release`."""
        self.file.release(self.offset, self.size)


class MappedArray(np.ndarray[Any, np.dtype[Any]]):
    """An array made by `MappedFile.array`.

    Attributes:
        region: Where it lies. None for what NumPy derives from it (slices, copies, results).
    """

    region: FileRegion | None

    def __array_finalize__(self, source: NDArray[Any] | None) -> None:
        """Called by NumPy for every new array of this class."""
        self.region = None


def region_of(array: NDArray[Any]) -> FileRegion | None:
    """Return where an array lies in a mapped file; None for an array in memory, and for a slice of a mapped one."""
    return array.region if isinstance(array, MappedArray) else None
