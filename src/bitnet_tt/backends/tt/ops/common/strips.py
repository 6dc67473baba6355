"""Rows in strips: the form in which rows pass between our own kernels. See strips.hpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ttnn

STRIP = 256
"""Elements of a strip, which is one page of the tensor."""


@dataclass(frozen=True, slots=True)
class Strips:
    """Rows of hidden states, each in whole pages of 256 elements.

    Attributes:
        tensor: float32 [rows * ceil(features / 256), 256], row-major.
        rows: Number of rows.
        features: Elements of a row, a multiple of 32.
    """

    tensor: ttnn.Tensor
    rows: int
    features: int

    @classmethod
    def empty(cls, device: Any, rows: int, features: int, memory: ttnn.MemoryConfig) -> Strips:
        """Allocate rows without a value."""
        shape = [rows * -(-features // STRIP), STRIP]
        tensor = ttnn.empty(
            shape, dtype=ttnn.float32, layout=ttnn.ROW_MAJOR_LAYOUT, device=device, memory_config=memory
        )
        return cls(tensor, rows, features)
