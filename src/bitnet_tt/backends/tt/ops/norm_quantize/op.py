"""Make the input of a matrix product from the output of the one before: residual or gate, RMSNorm, quantisation.

It is one program of our own in float32, and a core takes whole rows. Stock operations would need ten programs or more.
The stock fused norm rounds to about ten bits; the quantiser then differs from the reference in many integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float_bits, launch
from bitnet_tt.backends.tt.ops.common.rows import PAGE, IntegerProduct, Quantized, Rows
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMSNorm on the card.

    Attributes:
        gain: float32 [1, n], row-major, zeros beyond the features. n is a multiple of 1024.
        eps: Added to the mean square.
    """

    gain: ttnn.Tensor
    eps: float

    @classmethod
    def load(cls, card: Card, gain: NDArray[np.float32] | None, eps: float) -> Norm | None:
        """Put the gain on the card. Return None if the model has no such norm."""
        if gain is None:
            return None
        return cls(padded_row(card, gain), eps)


def normalize(x: ttnn.Tensor, norm: Norm | None, dtype: ttnn.DataType | None) -> Rows:
    """Normalise rows.

    Args:
        x: float32 [1, 1, rows, features].
        norm: The norm, or None to leave the rows as they are.
        dtype: float32 or bfloat16 for the result, or None to quantise it. It is the same in all functions of this file.
    """
    return _run(_Operands(x), norm, dtype).rows


def normalize_strips(x: Strips, rows: int, norm: Norm | None, dtype: ttnn.DataType | None) -> Rows:
    """Normalise rows in strips, and put them into tiles.

    Args:
        x: Rows.
        rows: Rows of the result, at least as many. The others have no meaning.
        norm: The norm, or None.
        dtype: See `normalize`.
    """
    return _run(_Operands(x.tensor, strips=x, result_rows=rows), norm, dtype).rows


def add(h: ttnn.Tensor, product: IntegerProduct) -> ttnn.Tensor:
    """Add a product to the residual stream h, float32 [1, 1, rows, hidden]."""
    return _run(_Operands(h, product), None, ttnn.float32).sum


def add_and_normalize(
    h: ttnn.Tensor, product: IntegerProduct, norm: Norm | None, dtype: ttnn.DataType | None
) -> tuple[ttnn.Tensor, Rows]:
    """Add a product to the residual stream; return the sum, and the sum normalised."""
    results = _run(_Operands(h, product), norm, dtype)
    return results.sum, results.rows


def gate_and_normalize(
    product: IntegerProduct, activation: str, norm: Norm | None, dtype: ttnn.DataType | None
) -> Rows:
    """Normalise activation(gate) * up, the input of down.

    Args:
        product: Gate and up side by side.
        activation: `relu2` or `silu`.
        norm: The norm, or None.
        dtype: See `normalize`.
    """
    return _run(_Operands(product.sums, product, activation), norm, dtype).rows


def gate(product: IntegerProduct, activation: str) -> ttnn.Tensor:
    """Return activation(gate) * up, float32; `gate_and_normalize` has the arguments."""
    return _run(_Operands(product.sums, product, activation), None, ttnn.float32).result


@dataclass(frozen=True, slots=True)
class _Operands:
    """The tensors that the source of norm and quantiser is made from.

    The source is `first` alone, or first + product, or, with an activation, activation(gate) * up. Gate and up are the
    halves of the product, which is then `first` too.

    Attributes:
        strips: The rows of `first` if it is not tiled.
        result_rows: Rows of the results, if not those of `first`.
    """

    first: ttnn.Tensor
    product: IntegerProduct | None = None
    activation: str | None = None
    strips: Strips | None = None
    result_rows: int | None = None

    @property
    def first_columns(self) -> int:
        """Tiles of a row of `first`."""
        return int(self.first.shape[3] if self.strips is None else self.strips.features) // TILE

    @property
    def width(self) -> int:
        """Tiles of a row of the source."""
        return self.first_columns // 2 if self.activation is not None else self.first_columns

    @property
    def pages(self) -> int:
        """Pages of a row of the source."""
        return -(-self.width * TILE // PAGE)

    @property
    def rows(self) -> int:
        """Rows to compute."""
        return int(self.first.shape[2]) if self.strips is None else self.strips.rows


@dataclass(frozen=True, slots=True)
class _Results:
    """The tensors that the program writes. `sum` is there if a product is added, `largest` if rows are quantised."""

    result: ttnn.Tensor
    sum: ttnn.Tensor | None
    largest: ttnn.Tensor | None

    @property
    def rows(self) -> Rows:
        """The result in the form that linears take."""
        return self.result if self.largest is None else Quantized(self.result, self.largest)


def _run(operands: _Operands, norm: Norm | None, dtype: ttnn.DataType | None) -> _Results:
    """Allocate the results and launch the program."""
    adds, features = operands.product is not None and operands.activation is None, operands.width * TILE
    rows = operands.result_rows or operands.rows
    results = _Results(
        _empty_rows(operands.first, rows, features, dtype or ttnn.bfloat16),
        _empty_rows(operands.first, rows, features, ttnn.float32) if adds else None,
        _empty_rows(operands.first, rows, 1, ttnn.float32) if dtype is None else None,
    )
    launch(
        reader=_reader(operands, norm),
        writer=_writer(operands, results),
        compute=_compute(operands, norm, results),
        buffers=_buffers(operands, results.result),
    )
    return results


def _empty_rows(like: ttnn.Tensor, rows: int, features: int, dtype: ttnn.DataType) -> ttnn.Tensor:
    """Allocate [1, 1, rows, features] in tiles, with the memory config of another tensor."""
    return ttnn.empty(
        [1, 1, rows, features],
        dtype=dtype,
        layout=ttnn.TILE_LAYOUT,
        device=like.device(),
        memory_config=like.memory_config(),
    )


def _reader(operands: _Operands, norm: Norm | None) -> Kernel:
    first, product = operands.first, operands.product
    first_scale, second_scale = (1.0, 1.0) if product is None else (product.scales * 2)[:2]
    return Kernel(
        "norm_quantize/norm_quantize_read.cpp",
        tensors={
            "first": first,
            "largest": None if product is None else product.largest,
            "gain": None if norm is None else norm.gain,
        },
        constants={
            "width": operands.width,
            "pages": operands.pages,
            "first_columns": operands.first_columns,
            "combines": product is not None,
            "from_strips": operands.strips is not None,
            "strip_lines": 1 if operands.strips is None else operands.strips.lines,
        },
        arguments={
            "rows": operands.rows,
            "first_scale_bits": float_bits(first_scale),
            "second_scale_bits": float_bits(second_scale),
        },
    )


def _writer(operands: _Operands, results: _Results) -> Kernel:
    return Kernel(
        "norm_quantize/norm_quantize_write.cpp",
        tensors={
            "second": None if operands.product is None else operands.product.sums,
            "result": results.result,
            "sum": results.sum,
            "largest": results.largest,
        },
        constants={
            "width": operands.width,
            "pages": operands.pages,
            "second_columns": operands.first_columns,
            "second_begin": 0 if operands.activation is None else operands.width,  # up lies behind gate
            "result_element_bytes": results.result.element_size(),
        },
        arguments={"rows": operands.rows},
    )


def _compute(operands: _Operands, norm: Norm | None, results: _Results) -> Kernel:
    return Kernel(
        "norm_quantize/norm_quantize_compute.cpp",
        constants={
            "lines": 1,
            "adds": results.sum is not None,
            "gates": operands.activation is not None,
            "silu": operands.activation == "silu",
            "normalizes": norm is not None,
            "quantizes": results.largest is not None,
            "pages": operands.pages,
            "inverse_width_bits": float_bits(1 / (operands.width * TILE)),
            "eps_bits": float_bits(0.0 if norm is None else norm.eps),
        },
        arguments={"rows": operands.rows},
    )


def _buffers(operands: _Operands, result: ttnn.Tensor) -> dict[str, Buffer | None]:
    pages, combines = operands.pages, operands.product is not None
    row, tile = Buffer(PAGE * FLOAT32_BYTES, pages, ttnn.float32), Buffer(PAGE * FLOAT32_BYTES, 1, ttnn.float32)
    return {
        "first": row,
        "second": row if combines else None,
        "scales": tile if combines else None,
        "gain": row,
        "combined": row if combines else None,
        "stats": tile,
        "result": Buffer(PAGE * result.element_size(), pages, result.dtype),
        "sum": row if combines else None,
        "largest": tile,
    }
