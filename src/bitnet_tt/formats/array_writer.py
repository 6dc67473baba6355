"""Write arrays to a file and report how many bytes are done."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.formats.tensor import Progress

_CHUNK_BYTES = 1 << 24


class ArrayWriter:
    """Writes arrays to an open file in chunks of 16 MiB, so that an array in a mapped file is never all in memory."""

    def __init__(self, file: BinaryIO, total: int, progress: Progress | None) -> None:
        """Prepare to write `total` bytes of arrays; `progress` is called after each chunk."""
        self._file = file
        self._total = total
        self._progress = progress
        self._done = 0

    def write(self, array: NDArray[Any]) -> None:
        """Write the bytes of an array in C order."""
        data = memoryview(np.ascontiguousarray(array)).cast("B")
        for start in range(0, len(data), _CHUNK_BYTES):
            self._done += self._file.write(data[start : start + _CHUNK_BYTES])
            if self._progress is not None:
                self._progress(self._done, self._total)
