"""Attention over the paged cache, in two precisions. Prompts and single tokens take the same path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.fidelity import EXACT_INTEGERS, HIFI4
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.model.bitlinear import load_linears
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct, Rows
from bitnet_tt.backends.tt.ops.gather_blocks.op import gather_blocks
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize_heads
from bitnet_tt.backends.tt.ops.split_heads.op import Angles, split_heads
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import KEY_CHUNK, Plan
from bitnet_tt.backends.tt.planning.products import SLICE_TERMS, subblock_width
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import LayerWeights


@dataclass(frozen=True, slots=True)
class Step:
    """The shapes, inputs and mask of one step, which are the same for every layer.

    R is the number of query rows of one KV head: query heads that share the KV head, times tokens.

    Attributes:
        sequences: Number of sequences, padding included.
        tokens: Rows of each sequence. Rows beyond sequences * tokens are padding.
        blocks: Cache blocks that attention reads for each sequence.
        inputs: Positions and slots of the rows, and the block table.
        angles: Rotary angles of all positions.
        mask: [sequences, 1, R, 32 * blocks], 0 or -1e30; float32 in `exact`, bfloat16 in `fast`.
    """

    sequences: int
    tokens: int
    blocks: int
    inputs: Inputs
    angles: Angles
    mask: ttnn.Tensor


class Attention:
    """The attention half of a layer, with the layer's part of the KV cache: o(norm(softmax(q k^T + mask) v))."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan) -> None:
        self._card, self._plan = card, plan
        self._qkv = load_linears("qkv", layer, card, plan)
        self._out = load_linears("o", layer, card, plan)
        widths = (plan.config.query_features, plan.config.kv_features, plan.config.kv_features)
        self._scales = padded_row(card, np.repeat(self._qkv.scales, widths).astype(np.float32))
        self._sub_norm = Norm.load(card, layer.attn_sub_norm, plan.config.rms_norm_eps)
        self._keys: ttnn.Tensor = None
        self._values: ttnn.Tensor = None

    def allocate(self, num_blocks: int) -> None:
        """Allocate the cache, all zeros: attention would spread a NaN even from a masked position."""
        self._keys = self._values = None  # free the earlier cache first
        shape = [num_blocks, self._plan.config.num_key_value_heads, TILE, self._plan.config.head_dim]
        dtype = ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16
        self._keys, self._values = self._card.zeros(shape, dtype), self._card.zeros(shape, dtype)

    @property
    def input_dtype(self) -> ttnn.DataType | None:
        """The dtype of the input rows, see `BitLinear.input_dtype`."""
        return self._qkv.input_dtype

    def __call__(self, x: Rows, step: Step) -> IntegerProduct:
        """Write the rows' keys and values to the cache, and attend.

        Args:
            x: Rows [1, 1, rows, hidden] after the layer's norm.
            step: The step's shapes, inputs and mask.

        Returns:
            The product that is added to the residual stream, [1, 1, rows, hidden].
        """
        config, sequences, tokens = self._plan.config, step.sequences, step.tokens
        caches = self._keys, self._values
        attend = attend_exactly if self._plan.precision == "exact" else attend_fast
        qkv = self._qkv(x)
        q = split_heads(
            qkv, self._scales, step.angles, step.inputs, caches, self._plan, sequences=sequences, tokens=tokens
        )
        keys, values = gather_blocks(caches, step.inputs.table, sequences, step.blocks)
        heads = attend(q, keys, values, step.mask, self._plan)
        group, dtype = config.queries_per_kv_head, self._out.input_dtype
        return self._out(normalize_heads(heads, qkv.sums, self._sub_norm, dtype, group=group, tokens=tokens))


def attend_fast(q: ttnn.Tensor, k: ttnn.Tensor, v: ttnn.Tensor, mask: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """Attend by TT-NN's fused operation, in its most accurate setting.

    Args:
        q: bfloat16 [sequences, kv_heads, R, head_dim], see `Step` for R.
        k: bfloat16 [sequences, kv_heads, positions, head_dim].
        v: bfloat16 [sequences, kv_heads, positions, head_dim].
        mask: bfloat16 [sequences, 1, R, positions], added to the scores.
        plan: The grid.

    Returns:
        bfloat16 in q's shape.
    """
    return ttnn.transformer.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=False,
        scale=plan.config.head_dim**-0.5,
        program_config=ttnn.SDPAProgramConfig(
            compute_with_storage_grid_size=ttnn.CoreCoord(plan.grid.x, plan.grid.y),
            q_chunk_size=TILE,
            k_chunk_size=KEY_CHUNK,
            exp_approx_mode=False,
        ),
        compute_kernel_config=HIFI4,
    )


# How attend_exactly multiplies. The matrix engine keeps only about 11 significant bits of a float32 product: a relative
# error of 1e-3. But it multiplies and adds small integers exactly. So each factor is cut into slices of small integers,
# and a product is the sum of products of slices:
#
#   left  = max|left| / 63 * (a0 + a1 + a2),        ai = an integer from -64 to 64, times 128 ** -i
#   right = max|right| / 31 * (b0 + b1 + b2 + b3),  bj = an integer from -31 to 31, times 32 ** -j
#   left @ right = max|left| * max|right| / (63 * 31) * sum of (ai @ bj) over the pairs (i, j) in SLICE_TERMS
#
# max|left| is taken over each row of the left factor, max|right| over each column of the right one. The sum over the
# pairs is one matrix product: the slices ai stand side by side, the slices bj one below the other.
# Measured on a bit-exact simulator: relative error 3.5e-6.


@dataclass(frozen=True, slots=True)
class _Slicing:
    """The slices that a factor is cut into.

    Attributes:
        limit: The largest integer of the first slice.
        factor: How much finer each slice is than the one before.
        count: Number of slices.
    """

    limit: int
    factor: int
    count: int


_LEFT = _Slicing(63, 128, 3)
_RIGHT = _Slicing(31, 32, 4)
_UNIT = 1 / (_LEFT.limit * _RIGHT.limit)

_ALONG_ROWS: dict[str, Any] = {"dim": -1, "keepdim": True}
"""Arguments of a reduction over the last axis, which stays with size 1."""


def _times(factor: float) -> ttnn.UnaryWithParam:
    return ttnn.UnaryWithParam(ttnn.UnaryOpType.MUL_UNARY_SFPU, factor)


# Unary operations in float32 at the start or the end of a binary one. By itself each would be a launch more.
_ROUND = ttnn.UnaryWithParam(ttnn.UnaryOpType.ROUND, 0)
_EXP = ttnn.UnaryWithParam(ttnn.UnaryOpType.EXP, 0.0)  # 0: not the approximate one
_RECIPROCAL = ttnn.UnaryWithParam(ttnn.UnaryOpType.RECIP)
_NOT_ZERO = ttnn.UnaryWithParam(ttnn.UnaryOpType.MAXIMUM, 1e-30)


def attend_exactly(q: ttnn.Tensor, k: ttnn.Tensor, v: ttnn.Tensor, mask: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """Attend in float32, with matrix products of integer slices: softmax(q k^T / sqrt(head_dim) + mask) v.

    The arguments and the result have the shapes of `attend_fast`; all are float32.
    """
    # Whole tiles of rows: otherwise the device fills up the last tile before each reduction.
    shape = q.shape
    q, mask = (ttnn.reshape(rows, rows.padded_shape, rows.padded_shape) for rows in (q, mask))

    # Scores, computed as k q^T and then transposed. Each core computes whole rows of a product. With keys as the left
    # factor, a longer context means more rows, not longer ones.
    largest_k, slices_k = _slices(k, _LEFT)
    largest_q, slices_q = _slices(q, _RIGHT)
    right = ttnn.transpose(_concat([slices_q[j] for _, j in SLICE_TERMS], -1), -2, -1)
    products = _sliced_product(_concat([slices_k[i] for i, _ in SLICE_TERMS], -1), right, plan)
    scores = ttnn.transpose(ttnn.mul(products, largest_k), -2, -1)
    scores = ttnn.mul(scores, largest_q, activations=[_times(_UNIT * plan.config.head_dim**-0.5)])

    # Softmax. Its division by the total comes last, together with the scale of the second product.
    scores = ttnn.add(scores, mask)
    exponentials = ttnn.sub(scores, ttnn.max(scores, **_ALONG_ROWS), activations=[_EXP])
    total = ttnn.sum(exponentials, **_ALONG_ROWS)

    # Weighted sum of values. A column of v goes over all positions, so a scale for each column would depend on later
    # tokens. Instead each row of v, which is one token, has its own scale. It multiplies the token's probability.
    largest_v, slices_v = _slices(v, _RIGHT)
    largest_p, slices_p = _slices(ttnn.mul(exponentials, ttnn.transpose(largest_v, -2, -1)), _LEFT)
    right = _concat([slices_v[j] for _, j in SLICE_TERMS], -2)
    products = _sliced_product(_concat([slices_p[i] for i, _ in SLICE_TERMS], -1), right, plan)
    scale = ttnn.mul(largest_p, total, input_tensor_b_activations=[_RECIPROCAL])
    return ttnn.reshape(ttnn.mul(products, scale, activations=[_times(_UNIT)]), shape, q.shape)


def _slices(x: ttnn.Tensor, slicing: _Slicing) -> tuple[ttnn.Tensor, list[ttnn.Tensor]]:
    """Cut each row of x into slices: x = max|row| / limit * (s0 + s1 + ...).

    Slice si is an integer times factor ** -i.

    Returns:
        max|row| of each row, float32 with a last axis of 1; and the slices, bfloat16 in x's shape.
    """
    largest = ttnn.max(ttnn.abs(x), **_ALONG_ROWS)
    rest = ttnn.mul(x, largest, input_tensor_b_activations=[_NOT_ZERO, _RECIPROCAL, _times(slicing.limit)])
    slices = []
    for index in range(slicing.count):
        scale = _times(slicing.factor**-index)
        slices.append(ttnn.mul(rest, 1.0, activations=[_ROUND, scale], dtype=ttnn.bfloat16))
        if index < slicing.count - 1:  # rest = (rest - round(rest)) * factor
            rest = ttnn.sub(rest, rest, input_tensor_b_activations=[_ROUND], activations=[_times(slicing.factor)])
    return largest, slices


def _sliced_product(left: ttnn.Tensor, right: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """Multiply the left slices [.., m, k], side by side, by the right slices [.., k, n], one below the other.

    A core computes one row of tiles of the result at a time, in steps of k that divide every term. So each row is
    summed in one order, which does not depend on the number of rows or of masked positions.
    """
    width = right.padded_shape[-1] // TILE
    return ttnn.matmul(
        left,
        right,
        dtype=ttnn.float32,
        compute_kernel_config=EXACT_INTEGERS,
        program_config=ttnn.MatmulMultiCoreReuseProgramConfig(
            compute_with_storage_grid_size=ttnn.CoreCoord(plan.grid.x, plan.grid.y),
            in0_block_w=math.gcd(left.shape[-1] // len(SLICE_TERMS), KEY_CHUNK) // TILE,
            out_subblock_h=1,
            out_subblock_w=subblock_width(width),
            per_core_M=1,
            per_core_N=width,
        ),
    )


def _concat(parts: list[ttnn.Tensor], dim: int) -> ttnn.Tensor:
    """Concatenate four tensors at a time: a kernel that concatenates many tensors needs too many arguments."""
    while len(parts) > 1:
        parts = [ttnn.concat(parts[i : i + 4], dim=dim) for i in range(0, len(parts), 4)]
    return parts[0]
