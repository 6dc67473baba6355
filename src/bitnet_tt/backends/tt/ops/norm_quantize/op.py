"""What rows go through between two products, as one program: residual or gate, RMSNorm, absmax quantisation.

Kernels of our own in float32, a core a row. Composed of stock operations the same takes ten programs or more; the stock
fused norm rounds to about ten bits, after which the quantiser differs from the reference's in many integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, float32_compute, launch
from bitnet_tt.backends.tt.planning.grid import TILE

PAGE = TILE * TILE
_FIRST, _SECOND, _GAIN, _SCALES, _ROW, _STATS, _RESULT, _SUM, _LARGEST, _PLACES = 0, 1, 2, 3, 4, 5, 16, 17, 18, 19
"""Circular buffers, as in tile.hpp."""


@dataclass(frozen=True, slots=True)
class IntegerProduct:
    """What the matrix engine made of quantised rows, its scales not yet applied.

    Attributes:
        sums: float32 [1, 1, rows, out of all matrices], exact integers.
        largest: float32 [1, 1, rows, 1], max|x| of each row that was quantised; None if the scales are applied.
        scales: What else each matrix's outputs are to be multiplied by.
    """

    sums: ttnn.Tensor
    largest: ttnn.Tensor | None
    scales: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Quantized:
    """Rows as integers.

    Attributes:
        integers: From -127 to 127 as bfloat16, which holds them exactly, [1, 1, rows, features].
        largest: float32 [1, 1, rows, 1], max|x| of each row, at least 1e-5.
    """

    integers: ttnn.Tensor
    largest: ttnn.Tensor


type Rows = Quantized | ttnn.Tensor
"""Input of linears: quantised, or float32 where they quantise themselves."""


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMSNorm.

    Attributes:
        gain: float32 [1, n], row-major, zeros beyond the features; n a multiple of 1024.
        eps: What is added to the mean square.
    """

    gain: ttnn.Tensor
    eps: float

    @classmethod
    def load(cls, card: Card, gain: NDArray[np.float32] | None, eps: float) -> Norm | None:
        """Put its gain on the card; no gain, no norm."""
        if gain is None:
            return None
        return cls(padded_row(card, gain), eps)


def normalize(x: ttnn.Tensor, norm: Norm | None, dtype: ttnn.DataType | None) -> Rows:
    """Norm rows, if there is a norm.

    Args:
        x: float32 [1, 1, rows, features].
        norm: The norm.
        dtype: float32 or bfloat16; None to quantise, as all functions here.
    """
    return _run(x, norm, dtype).rows


def normalize_heads(
    heads: ttnn.Tensor, like: ttnn.Tensor, norm: Norm | None, dtype: ttnn.DataType | None, *, group: int, tokens: int
) -> Rows:
    """Norm what attention made of rows.

    Args:
        heads: float32 or bfloat16 [sequences, kv_heads, group * tokens, head_dim], see `heads.split_heads`.
        like: The result has as many rows as this, [1, 1, rows, any], and lies where it lies. Rows beyond
            sequences * tokens have no meaning.
        norm: Over all heads of a row.
        dtype: See `normalize`.
        group: Query heads that share a key/value head.
        tokens: Of each sequence.
    """
    return _run(heads, norm, dtype, heads=_Heads(like, group, tokens)).rows


def add(h: ttnn.Tensor, product: IntegerProduct) -> ttnn.Tensor:
    """Add a product to the residual stream h, float32 [1, 1, rows, hidden]."""
    return _run(h, None, ttnn.float32, source=_ADD, product=product).sum


def add_and_normalize(
    h: ttnn.Tensor, product: IntegerProduct, norm: Norm | None, dtype: ttnn.DataType | None
) -> tuple[ttnn.Tensor, Rows]:
    """As `add`; return that, and it normed."""
    made = _run(h, norm, dtype, source=_ADD, product=product)
    return made.sum, made.rows


def gate_and_normalize(
    product: IntegerProduct, activation: str, norm: Norm | None, dtype: ttnn.DataType | None
) -> Rows:
    """From a product with gate and up side by side to the input of down."""
    return _run(product.sums, norm, dtype, source=_GATES[activation], product=product).rows


_PLAIN, _ADD = 0, 1
_GATES = {"relu2": 2, "silu": 3}


@dataclass(frozen=True, slots=True)
class _Heads:
    like: ttnn.Tensor
    group: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Made:
    rows: Rows
    sum: ttnn.Tensor


def _run(
    first: ttnn.Tensor,
    norm: Norm | None,
    dtype: ttnn.DataType | None,
    *,
    source: int = _PLAIN,
    product: IntegerProduct | None = None,
    heads: _Heads | None = None,
) -> _Made:
    """Make the results and launch the kernels. Where a kernel does not look at a tensor, some other stands for it."""
    like = first if heads is None else heads.like
    columns = first.shape[3] // TILE
    width = columns // 2 if source > _ADD else columns if heads is None else columns * heads.group * first.shape[1]

    def result_of(features: int, result_dtype: ttnn.DataType) -> ttnn.Tensor:
        return ttnn.empty(
            [1, 1, like.shape[2], features],
            dtype=result_dtype,
            layout=ttnn.TILE_LAYOUT,
            device=like.device(),
            memory_config=like.memory_config(),
        )

    result = result_of(width * TILE, dtype or ttnn.bfloat16)
    total = result_of(width * TILE, ttnn.float32) if source == _ADD else result
    largest = result_of(1, ttnn.float32) if dtype is None else result

    pages = -(-width * TILE // PAGE)
    used = first.shape[2] if heads is None else first.shape[0] * heads.tokens
    inverse_width, eps = _bits(1 / (width * TILE)), _bits(0.0 if norm is None else norm.eps)
    kernels = [
        _reader(first, norm, product, heads, width, pages, used),
        Kernel(
            "norm_quantize/write.cpp",
            tensors=[first if product is None else product.sums, result, total, largest],
            counts=[used],
            sizes=[
                *(product is not None, columns, width if source > _ADD else 0),  # gate and up are one tensor
                *(result.element_size(), source == _ADD, dtype is None, width, pages),
            ],
            config=ttnn.WriterConfigDescriptor(),
        ),
        Kernel(
            "norm_quantize/compute.cpp",
            tensors=[],
            counts=[used],
            sizes=[source, norm is not None, dtype is None, pages, inverse_width, eps],
            config=float32_compute((_FIRST, _SECOND, _GAIN, _SCALES, _ROW, _STATS)),
        ),
    ]
    row, one = Buffer(PAGE * 4, pages, ttnn.float32), Buffer(PAGE * 4, 1, ttnn.float32)
    out = Buffer(PAGE * result.element_size(), pages, result.dtype)
    buffers = {_FIRST: row, _GAIN: row, _STATS: one, _RESULT: out, _LARGEST: one}
    if heads is not None:
        buffers[_PLACES] = Buffer(width * TILE * 4)
    if product is not None:
        buffers |= {_SECOND: row, _SCALES: one, _ROW: row, _SUM: row}
    launch(kernels, buffers, [result, total, largest])
    return _Made(Quantized(result, largest) if dtype is None else result, total)


def _reader(
    first: ttnn.Tensor,
    norm: Norm | None,
    product: IntegerProduct | None,
    heads: _Heads | None,
    width: int,
    pages: int,
    used: int,
) -> Kernel:
    largest = None if product is None else product.largest
    scales = (1.0, 1.0) if product is None else (product.scales * 2)[:2]
    group, tokens = (0, 0) if heads is None else (heads.group, heads.tokens)
    return Kernel(
        "norm_quantize/read.cpp",
        tensors=[first, first if largest is None else largest, first if norm is None else norm.gain],
        counts=[used, *(_bits(scale) for scale in scales), tokens],
        sizes=[
            *(product is not None, largest is not None, norm is not None, width, pages, first.shape[3] // TILE),
            *(group, first.shape[1], first.element_size()),
        ],
        config=ttnn.ReaderConfigDescriptor(),
    )


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))
