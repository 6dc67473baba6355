"""Memory-mapped files, and arrays of such a file that know their file and offset.

Backends use the file and offset to read single rows with pread, and to release pages that they have copied.
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
    """A whole file, mapped read-only. The operating system reads a page at its first access.

    The mapping and the descriptor stay open until this object and all arrays of the file, and views of them, are gone.

    Attributes:
        path: The file.
        size: Its size in bytes.
        descriptor: The open file descriptor, for pread. -1 for an empty file.
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
        """Copy `size` bytes from `offset` on, or fewer if the file ends before."""
        return self._map[offset : min(offset + size, self.size)]

    def array(self, offset: int, dtype: DTypeLike, shape: tuple[int, ...]) -> MappedArray:
        """Return the array that begins at byte `offset`, without a copy. It may be unaligned.

        The caller must have checked that the array ends within the file.
        """
        array = MappedArray(shape, dtype, self._map, offset)
        array.region = FileRegion(self, offset, array.nbytes)
        return array

    def release(self, offset: int, size: int) -> None:
        """Let the system free the pages that lie entirely within a region. A later access reads them again."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (offset + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > start and isinstance(self._map, mmap.mmap):
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)


@dataclass(frozen=True, slots=True)
class FileRegion:
    """Consecutive bytes of a mapped file.

    Attributes:
        file: The file.
        offset: The first byte of the region.
        size: Its size in bytes.
    """

    file: MappedFile
    offset: int
    size: int

    def release(self) -> None:
        """Release the region's pages, see `MappedFile.release`."""
        self.file.release(self.offset, self.size)


class MappedArray(np.ndarray[Any, np.dtype[Any]]):
    """An array made by `MappedFile.array`.

    Attributes:
        region: The bytes of the file that the array consists of. None for every array that NumPy derives from it
            (slices, copies, results).
    """

    region: FileRegion | None

    def __array_finalize__(self, source: NDArray[Any] | None) -> None:
        """Start without a region. NumPy calls this for every new array of the class."""
        self.region = None


def region_of(array: NDArray[Any]) -> FileRegion | None:
    """Return an array's region of a mapped file. None for an array in memory and for a slice of a mapped array."""
    return array.region if isinstance(array, MappedArray) else None
