"""Make the input of a matrix product from the output of the one before: residual or gate, RMSNorm, quantisation.

It is one program of our own in float32, and a core takes whole rows. Composed of stock operations it would be ten
programs or more. The stock fused norm rounds to about ten bits; the quantiser then differs from the reference in many
integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE

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
        dtype: float32 or bfloat16 for the result, or None to quantise it. All functions of this file take it so.
    """
    return _run(x, norm, dtype).rows


def normalize_heads(
    heads: ttnn.Tensor, like: ttnn.Tensor, norm: Norm | None, dtype: ttnn.DataType | None, *, group: int, tokens: int
) -> Rows:
    """Join the heads that attention returns to rows, and normalise these.

    Args:
        heads: float32 or bfloat16 [sequences, kv_heads, group * tokens, head_dim], as `split_heads` returns q.
        like: [1, 1, rows, any]. The result has as many rows and the same memory config. Its rows beyond
            sequences * tokens have no meaning.
        norm: The norm over all heads of a row, or None.
        dtype: See `normalize`.
        group: Query heads that share a KV head.
        tokens: Tokens of each sequence.
    """
    return _run(heads, norm, dtype, heads=_Heads(like, group, tokens)).rows


def add(h: ttnn.Tensor, product: IntegerProduct) -> ttnn.Tensor:
    """Add a product to the residual stream h, float32 [1, 1, rows, hidden]."""
    return _run(h, None, ttnn.float32, product=product).sum


def add_and_normalize(
    h: ttnn.Tensor, product: IntegerProduct, norm: Norm | None, dtype: ttnn.DataType | None
) -> tuple[ttnn.Tensor, Rows]:
    """Add a product to the residual stream; return the sum, and the sum normalised."""
    made = _run(h, norm, dtype, product=product)
    return made.sum, made.rows


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
    return _run(product.sums, norm, dtype, product=product, activation=activation).rows


@dataclass(frozen=True, slots=True)
class _Heads:
    like: ttnn.Tensor
    group: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Made:
    rows: Rows
    sum: ttnn.Tensor | None


def _run(
    first: ttnn.Tensor,
    norm: Norm | None,
    dtype: ttnn.DataType | None,
    *,
    product: IntegerProduct | None = None,
    activation: str | None = None,
    heads: _Heads | None = None,
) -> _Made:
    """Make the result tensors and launch the program.

    The source of norm and quantiser is `first` alone, or first + product, or, with an activation,
    activation(gate) * up, where gate and up are the halves of the product.
    """
    adds, gates = product is not None and activation is None, activation is not None
    like = first if heads is None else heads.like
    columns = first.shape[3] // TILE
    if gates:
        width = columns // 2
    elif heads is not None:
        width = columns * heads.group * first.shape[1]
    else:
        width = columns
    pages = -(-width * TILE // PAGE)

    result = _empty_rows(like, width * TILE, dtype or ttnn.bfloat16)
    total = _empty_rows(like, width * TILE, ttnn.float32) if adds else None
    largest = _empty_rows(like, 1, ttnn.float32) if dtype is None else None
    rows = {"rows": first.shape[2] if heads is None else first.shape[0] * heads.tokens}
    launch(
        reader=_reader(first, norm, product, heads, width, pages, rows),
        writer=Kernel(
            "norm_quantize/write.cpp",
            tensors={
                "second": None if product is None else product.sums,
                "result": result,
                "sum": total,
                "largest": largest,
            },
            constants={
                "width": width,
                "pages": pages,
                "second_columns": columns,
                "second_begin": width if gates else 0,  # gate and up are one tensor
                "result_element_bytes": result.element_size(),
            },
            arguments=rows,
        ),
        compute=Kernel(
            "norm_quantize/compute.cpp",
            constants={
                "adds": adds,
                "gates": gates,
                "silu": activation == "silu",
                "normalizes": norm is not None,
                "quantizes": dtype is None,
                "pages": pages,
                "inverse_width_bits": _bits(1 / (width * TILE)),
                "eps_bits": _bits(0.0 if norm is None else norm.eps),
            },
            arguments=rows,
        ),
        buffers=_buffers(result, pages, combines=product is not None, raw_heads=width * TILE if heads else 0),
    )
    return _Made(result if largest is None else Quantized(result, largest), total)


def _empty_rows(like: ttnn.Tensor, features: int, dtype: ttnn.DataType) -> ttnn.Tensor:
    """Allocate [1, 1, rows, features] in tiles, with the rows and the memory config of another tensor."""
    return ttnn.empty(
        [1, 1, like.shape[2], features],
        dtype=dtype,
        layout=ttnn.TILE_LAYOUT,
        device=like.device(),
        memory_config=like.memory_config(),
    )


def _reader(
    first: ttnn.Tensor,
    norm: Norm | None,
    product: IntegerProduct | None,
    heads: _Heads | None,
    width: int,
    pages: int,
    rows: Mapping[str, int],
) -> Kernel:
    first_scale, second_scale = (1.0, 1.0) if product is None else (product.scales * 2)[:2]
    return Kernel(
        "norm_quantize/read.cpp",
        tensors={
            "first": first,
            "largest": None if product is None else product.largest,
            "gain": None if norm is None else norm.gain,
        },
        constants={
            "width": width,
            "pages": pages,
            "first_columns": first.shape[3] // TILE,
            "first_element_bytes": first.element_size(),
            "combines": product is not None,
            "from_heads": heads is not None,
            "kv_heads": first.shape[1],
            "group": 0 if heads is None else heads.group,
        },
        arguments={
            **rows,
            "first_scale_bits": _bits(first_scale),
            "second_scale_bits": _bits(second_scale),
            "tokens": 0 if heads is None else heads.tokens,
        },
    )


def _buffers(result: ttnn.Tensor, pages: int, *, combines: bool, raw_heads: int) -> dict[str, Buffer | None]:
    """Describe the circular buffers. `raw_heads` is the number of elements of a row that is read out of heads, or 0."""
    row, tile = (Buffer(PAGE * FLOAT32_BYTES, count, ttnn.float32) for count in (pages, 1))
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
        # Reads of bfloat16 heads are twice as long as needed: the row and its neighbour.
        "raw_heads": Buffer(raw_heads * FLOAT32_BYTES) if raw_heads else None,
    }


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))
