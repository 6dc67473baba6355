"""Tensors where they lie in a memory-mapped file, before anything of them is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import CheckpointError
from bitnet_tt.mapped import MappedFile

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

PLAIN_DTYPES: dict[str, type[np.generic]] = {
    "U8": np.uint8,
    "BF16": np.uint16,
    "F16": np.float16,
    "F32": np.float32,
}
"""Element types that NumPy reads as they are; bfloat16 as its bits."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """One tensor of a checkpoint file.

    Attributes:
        name: Its name in the file.
        dtype: Its element type in the file's own words, such as `BF16` or `TQ2_0`.
        shape: Sizes, slowest-varying first.
        offset: Where its bytes begin in the file.
        size: How many bytes it has there.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int
    file: MappedFile

    def raw(self) -> NDArray[np.uint8]:
        """The stored bytes in place, uint8 [size]."""
        return self.file.array(self.offset, np.uint8, (self.size,))

    def array(self) -> NDArray[Any]:
        """The elements in place (bfloat16 as uint16); copied only if the file does not align them.

        Raises:
            CheckpointError: The element type is not a plain one.
        """
        if self.dtype not in PLAIN_DTYPES:
            raise self.error(f"has type {self.dtype}, which cannot be used here; known: {', '.join(PLAIN_DTYPES)}")
        values = self.file.array(self.offset, PLAIN_DTYPES[self.dtype], self.shape)
        return values if values.flags.aligned else values.copy()

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Some of its rows, as far as it has them; of a plain or block type, of which a row is whole bytes."""
        stop = min(stop, self.shape[0])
        row_bytes = self.size // self.shape[0]
        size = (stop - start) * row_bytes
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=self.offset + start * row_bytes, size=size)

    def release(self) -> None:
        """Let the system drop this tensor's pages from memory, once it has been converted to something else."""
        self.file.release(self.offset, self.size)

    def error(self, problem: str) -> CheckpointError:
        """An error that names this file and tensor; `problem` continues the sentence and ends with the remedy."""
        return CheckpointError(f"{self.file.path}: tensor {self.name} {problem}")
