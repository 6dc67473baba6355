"""Attention over the paged cache: one path for prompts and for single tokens, in two precisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device import fidelity as numerics
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.fidelity import LAST
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.model.bitlinear import load_linears
from bitnet_tt.backends.tt.ops.norm_quantize.op import IntegerProduct, Norm, Rows, normalize_heads
from bitnet_tt.backends.tt.ops.paging import gather_blocks
from bitnet_tt.backends.tt.ops.split_heads.op import Angles, split_heads
from bitnet_tt.backends.tt.planning.plan import KEY_CHUNK, TILE, Plan, subblock_width
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import LayerWeights


@dataclass(frozen=True, slots=True)
class Step:
    """What every layer of one step needs; made once a step.

    Attributes:
        sequences: How many.
        tokens: Rows of each; those beyond are padding.
        blocks: Of the cache that attention reads of each.
        inputs: Where the rows go, and where the blocks are.
        angles: Of all positions.
        mask: [sequences, 1, R, 32 * blocks], 0 or -1e30; float32, or bfloat16 in `fast`.
    """

    sequences: int
    tokens: int
    blocks: int
    inputs: Inputs
    angles: Angles
    mask: ttnn.Tensor


class Attention:
    """The attention half of a layer, with its part of the cache."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan) -> None:
        self._card, self._plan = card, plan
        self._qkv = load_linears("qkv", (layer.q_proj, layer.k_proj, layer.v_proj), card, plan)
        self._out = load_linears("o", (layer.o_proj,), card, plan)
        self._scales = padded_row(
            card, np.repeat(self._qkv.scales, (plan.query_width, plan.key_width, plan.key_width)).astype(np.float32)
        )
        self._sub_norm = Norm.load(card, layer.attn_sub_norm, plan.config.rms_norm_eps)
        self._keys: ttnn.Tensor = None
        self._values: ttnn.Tensor = None

    def allocate(self, num_blocks: int) -> None:
        """Make a cache of zeros: attention would spread a NaN even from a masked position."""
        self._keys = self._values = None  # give the old one back first
        shape = [num_blocks, self._plan.config.num_key_value_heads, TILE, self._plan.config.head_dim]
        dtype = ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16
        self._keys, self._values = self._card.zeros(shape, dtype), self._card.zeros(shape, dtype)

    @property
    def input_dtype(self) -> ttnn.DataType | None:
        """See `BitLinear.input_dtype`."""
        return self._qkv.input_dtype

    def __call__(self, x: Rows, step: Step) -> IntegerProduct:
        """Attend.

        Args:
            x: Rows [1, 1, rows, hidden], normed.
            step: Where the rows are and what they see.

        Returns:
            What is to be added to the residual stream, [1, 1, rows, hidden].
        """
        config, fast = self._plan.config, self._plan.precision == "fast"
        qkv = self._qkv(x)
        sequences, tokens, caches = step.sequences, step.tokens, (self._keys, self._values)
        q = split_heads(
            qkv, self._scales, step.angles, step.inputs, caches, self._plan, sequences=sequences, tokens=tokens
        )
        keys, values = gather_blocks(caches, step.inputs.table, sequences, step.blocks)
        out = (attend_fast if fast else attend_exactly)(q, keys, values, step.mask, self._plan)
        group, dtype = config.queries_per_kv_head, self._out.input_dtype
        return self._out(normalize_heads(out, qkv.sums, self._sub_norm, dtype, group=group, tokens=tokens))


def attend_fast(q: ttnn.Tensor, k: ttnn.Tensor, v: ttnn.Tensor, mask: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """The fused operation, at its most accurate.

    Args:
        q: bfloat16 [sequences, kv_heads, R, head_dim].
        k: bfloat16 [sequences, kv_heads, positions, head_dim].
        v: Likewise.
        mask: bfloat16 [sequences, 1, R, positions].
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
        compute_kernel_config=numerics.MOST_BITS,
    )


def attend_exactly(q: ttnn.Tensor, k: ttnn.Tensor, v: ttnn.Tensor, mask: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """Softmax attention whose products are taken in integers; arguments as above, all float32.

    A float32 product on the matrix engine keeps 11 bits. Integers of 6 bits it multiplies and adds exactly, so factors
    are cut into slices of such integers, left ones by `_LEFT`, right ones by `_RIGHT`.
    """
    # Whole tiles of rows, since the device would fill the rest of one before each reduction.
    shape = q.shape
    q, mask = (ttnn.reshape(rows, rows.padded_shape, rows.padded_shape) for rows in (q, mask))
    # Keys are on the left, so that it is the product's height that grows with the context; a core holds whole rows.
    largest_k, slices_k = _slices(k, *_LEFT)
    largest_q, slices_q = _slices(q, *_RIGHT)
    right = ttnn.transpose(_concat([slices_q[j] for _, j in _TERMS], -1), -2, -1)
    products = _sliced_product(_concat([slices_k[i] for i, _ in _TERMS], -1), right, plan)
    scores = ttnn.transpose(ttnn.mul(products, largest_k), -2, -1)
    scores = ttnn.mul(scores, largest_q, activations=[_times(_UNIT * plan.config.head_dim**-0.5)])
    scores = ttnn.add(scores, mask)
    exponentials = ttnn.sub(scores, ttnn.max(scores, **LAST), activations=[_EXP])
    total = ttnn.sum(exponentials, **LAST)
    # A value's scale is its own token's, so that no later token changes it; it is the probability that takes it in.
    largest_v, slices_v = _slices(v, *_RIGHT)
    largest_p, slices_p = _slices(ttnn.mul(exponentials, ttnn.transpose(largest_v, -2, -1)), *_LEFT)
    right = _concat([slices_v[j] for _, j in _TERMS], -2)
    products = _sliced_product(_concat([slices_p[i] for i, _ in _TERMS], -1), right, plan)
    shares = ttnn.mul(largest_p, total, input_tensor_b_activations=[_RECIPROCAL])
    return ttnn.reshape(ttnn.mul(products, shares, activations=[_times(_UNIT)]), shape, q.shape)


def _times(factor: float) -> ttnn.UnaryWithParam:
    return ttnn.UnaryWithParam(ttnn.UnaryOpType.MUL_UNARY_SFPU, factor)


_LEFT = (63, 128, 3)
_RIGHT = (31, 32, 4)
_UNIT = 1 / (_LEFT[0] * _RIGHT[0])
"""What a product of slices is to be multiplied by, beside the largest of their rows."""
_TERMS = ((1, 3), (2, 1), (1, 2), (0, 3), (2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0))
"""Which slices to multiply, smallest terms first; those left out are below the slices' own last bits."""

# Unary operations that a binary one starts or ends with, in float32: each would be a launch of its own.
_ROUND = ttnn.UnaryWithParam(ttnn.UnaryOpType.ROUND, 0)
_EXP = ttnn.UnaryWithParam(ttnn.UnaryOpType.EXP, 0.0)  # not the approximate one
_RECIPROCAL = ttnn.UnaryWithParam(ttnn.UnaryOpType.RECIP)
_NOT_ZERO = ttnn.UnaryWithParam(ttnn.UnaryOpType.MAXIMUM, 1e-30)


def _slices(x: ttnn.Tensor, limit: int, factor: int, count: int) -> tuple[ttnn.Tensor, list[ttnn.Tensor]]:
    """Slice each row of x into integers: x = largest / limit * (s0 + s1 + ...), si a multiple of factor ** -i.

    Returns:
        largest, max|x| of each row, float32 with a last axis of 1, and the slices, bfloat16 in x's shape.
    """
    largest = ttnn.max(ttnn.abs(x), **LAST)
    rest = ttnn.mul(x, largest, input_tensor_b_activations=[_NOT_ZERO, _RECIPROCAL, _times(limit)])
    slices = []
    for index in range(count):
        slices.append(ttnn.mul(rest, 1.0, activations=[_ROUND, _times(factor**-index)], dtype=ttnn.bfloat16))
        if index < count - 1:
            rest = ttnn.sub(rest, rest, input_tensor_b_activations=[_ROUND], activations=[_times(factor)])
    return largest, slices


def _sliced_product(left: ttnn.Tensor, right: ttnn.Tensor, plan: Plan) -> ttnn.Tensor:
    """The sum of all terms as one product: left slices [.., m, k] side by side, right ones [.., k, n] on each other.

    Every core makes one row of tiles of the result at a time, in steps of k that divide every term, so that a row is
    summed in one order however many rows and masked positions there are.
    """
    width = right.padded_shape[-1] // TILE
    return ttnn.matmul(
        left,
        right,
        dtype=ttnn.float32,
        compute_kernel_config=numerics.EXACT_INTEGERS,
        program_config=ttnn.MatmulMultiCoreReuseProgramConfig(
            compute_with_storage_grid_size=ttnn.CoreCoord(plan.grid.x, plan.grid.y),
            in0_block_w=math.gcd(left.shape[-1] // len(_TERMS), KEY_CHUNK) // TILE,
            out_subblock_h=1,
            out_subblock_w=subblock_width(width),
            per_core_M=1,
            per_core_N=width,
        ),
    )


def _concat(parts: list[ttnn.Tensor], dim: int) -> ttnn.Tensor:
    """Concatenate in fours: a concatenation of many tensors needs a kernel of many arguments."""
    while len(parts) > 1:
        parts = [ttnn.concat(parts[i : i + 4], dim=dim) for i in range(0, len(parts), 4)]
    return parts[0]
