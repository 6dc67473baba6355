"""StoredTensor: one tensor of a memory-mapped file, in the form in which the file stores it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import CheckpointError
from bitnet_tt.mapped import MappedFile

DAMAGED = "the file is damaged or incomplete: download it again"
"""How every error about a damaged file ends."""

Progress = Callable[[int, int], None]
"""A function that is called with the bytes done and the bytes in all."""

PLAIN_DTYPES: dict[str, type[np.generic]] = {
    "U8": np.uint8,
    "BF16": np.uint16,
    "F16": np.float16,
    "F32": np.float32,
}
"""NumPy type of each element type that NumPy can read in place. bfloat16 is read as its bits."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """One tensor of a checkpoint file.

    Attributes:
        name: Its name in the file.
        dtype: Its element type or block type, as the file format names it, such as `BF16` or `TQ2_0`.
        shape: Sizes, slowest-varying first.
        offset: Position of its first byte in the file.
        size: Its bytes in the file.
        file: The file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int
    file: MappedFile

    def raw(self) -> NDArray[np.uint8]:
        """Return the stored bytes without a copy, uint8 [size]."""
        return self.file.array(self.offset, np.uint8, (self.size,))

    def array(self) -> NDArray[Any]:
        """Return the elements, bfloat16 as uint16. They are copied only if they are not aligned in the file.

        Raises:
            CheckpointError: The element type is not one of `PLAIN_DTYPES`.
        """
        if self.dtype not in PLAIN_DTYPES:
            raise self.error(
                f"has type {self.dtype}, which cannot be used here; use a checkpoint with {', '.join(PLAIN_DTYPES)}"
            )
        values = self.file.array(self.offset, PLAIN_DTYPES[self.dtype], self.shape)
        return values if values.flags.aligned else values.copy()

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Return rows `start` to `stop`, or to the last row if that comes first.

        The bytes of the tensor must be its rows, one after another. This holds for all types but I2_S.
        """
        stop = min(stop, self.shape[0])
        row_bytes = self.size // self.shape[0]
        size = (stop - start) * row_bytes
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=self.offset + start * row_bytes, size=size)

    def release(self) -> None:
        """Let the system drop this tensor's pages from memory. Use it after converting the tensor to another form."""
        self.file.release(self.offset, self.size)

    def error(self, problem: str) -> CheckpointError:
        """Return an error that names the file and the tensor; `problem` says what is wrong and what to do."""
        return CheckpointError(f"{self.file.path}: tensor {self.name} {problem}")
