"""Rows of hidden states, in the forms in which they pass from one operation to the next."""

from __future__ import annotations

from dataclasses import dataclass

import ttnn

from bitnet_tt.backends.tt.planning.grid import TILE

PAGE = TILE * TILE
"""Elements of a row in one page of a circular buffer: the compute kernel takes a page for a tile."""


@dataclass(frozen=True, slots=True)
class IntegerProduct:
    """The product of quantised rows and ternary weights, before any scale is applied.

    Attributes:
        sums: float32 [1, 1, rows, out of all matrices], exact integers.
        largest: float32 [1, 1, rows, 1], max|x| of each row that was quantised. None if it is applied already.
        scales: The factor of each matrix's outputs.
    """

    sums: ttnn.Tensor
    largest: ttnn.Tensor | None
    scales: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Quantized:
    """Quantised rows.

    Attributes:
        integers: [1, 1, rows, features], from -127 to 127, as bfloat16, which holds them exactly.
        largest: float32 [1, 1, rows, 1], max|x| of each row, at least 1e-5.
    """

    integers: ttnn.Tensor
    largest: ttnn.Tensor


type Rows = Quantized | ttnn.Tensor
"""The input of linears: quantised, or float32 if the linears quantise it themselves."""
