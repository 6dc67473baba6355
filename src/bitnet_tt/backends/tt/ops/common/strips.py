"""Rows in strips: the form in which rows pass between our own kernels. See strips.hpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ttnn

from bitnet_tt.backends.tt.planning.grid import STRIP


@dataclass(frozen=True, slots=True)
class Strips:
    """Rows of hidden states, in pages that have 256 elements of each of a few rows.

    Attributes:
        tensor: float32 [ceil(rows / lines) * ceil(features / 256), 256 * lines], row-major.
        rows: Number of rows.
        features: Elements of a row, a multiple of 32.
        lines: Rows that share a page: 1, 4 or 8.
    """

    tensor: ttnn.Tensor
    rows: int
    features: int
    lines: int

    @classmethod
    def empty(cls, device: Any, rows: int, features: int, memory: ttnn.MemoryConfig, lines: int = 1) -> Strips:
        """Allocate rows without a value."""
        shape = [-(-rows // lines) * -(-features // STRIP), STRIP * lines]
        tensor = ttnn.empty(
            shape, dtype=ttnn.float32, layout=ttnn.ROW_MAJOR_LAYOUT, device=device, memory_config=memory
        )
        return cls(tensor, rows, features, lines)
