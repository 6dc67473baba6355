"""Attention over the paged cache. Prompts and single tokens take the same path, in both precisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.model.bitlinear import BitLinear, load_linears
from bitnet_tt.backends.tt.model.gather import Gather
from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct, Rows
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize_strips
from bitnet_tt.backends.tt.ops.paged_attention.op import paged_attention
from bitnet_tt.backends.tt.ops.split_heads.op import split_heads
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import LayerWeights


@dataclass(frozen=True, slots=True)
class Step:
    """The shapes and inputs of one step, which are the same for every layer.

    Attributes:
        sequences: Number of sequences, padding included.
        tokens: Rows of each sequence. Rows beyond sequences * tokens are padding.
        blocks: Cache blocks of each sequence in the block table.
        inputs: Positions and slots of the rows, and the block table.
        angles: Rotary angles of all positions.
    """

    sequences: int
    tokens: int
    blocks: int
    inputs: Inputs
    angles: Angles


class Attention:
    """The attention half of a layer, with the layer's part of the KV cache: o(norm(softmax(q k^T) v))."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan, gather: Gather | None = None) -> None:
        self._card, self._plan, self._gather = card, plan, gather
        self._qkv = load_linears("qkv", layer, card, plan)
        self._out = load_linears("o", layer, card, plan)
        widths = (len(plan.own.queries), len(plan.own.keys), len(plan.own.keys))
        self._scales = padded_row(card, np.repeat(self._qkv.scales, widths).astype(np.float32))
        self._sub_norm = Norm.load(card, layer.attn_sub_norm, plan.config.rms_norm_eps)
        self._keys: ttnn.Tensor = None
        self._values: ttnn.Tensor = None

    def allocate(self, num_blocks: int) -> None:
        """Allocate the cache, all zeros: attention would spread a NaN even from a masked position."""
        self._keys = self._values = None  # free the earlier cache first
        head_dim = self._plan.config.head_dim
        shape = [num_blocks, len(self._plan.own.keys) // head_dim, TILE, head_dim]
        self._keys, self._values = (self._card.zeros(shape, ttnn.float32) for _ in range(2))

    @property
    def input_dtype(self) -> ttnn.DataType | None:
        """The dtype of the input rows, see `BitLinear.input_dtype`."""
        return self._qkv.input_dtype

    def __call__(self, x: Rows, step: Step) -> IntegerProduct:
        """Write the rows' keys and values to the cache, and attend.

        Args:
            x: Rows [1, 1, rows, hidden] after the layer's norm.
            step: The step's shapes and inputs.

        Returns:
            The product that is added to the residual stream, [1, 1, rows, hidden].
        """
        qkv, caches, rows = self._qkv(x), (self._keys, self._values), step.sequences * step.tokens
        q = split_heads(qkv, self._scales, step.angles, step.inputs, caches, self._plan, rows=rows)
        attended = self._attend(q, step)
        product = self._out(normalize_strips(attended, qkv.sums.shape[2], self._sub_norm, self._out.input_dtype))
        return product if self._gather is None else self._gather.product(product)

    def of_few_rows(self, h: Strips, norm: Norm | None, step: Step) -> Strips:
        """Do the same for a few rows, with the layer's norm before it and the addition after it; return the sum."""
        assert isinstance(self._qkv, BitLinear)
        assert isinstance(self._out, BitLinear)
        attended = self._attend(self._qkv.of_few_rows(h, norm), step, step.angles)
        h = self._out.of_few_rows(attended, self._sub_norm, residual=h)
        return h if self._gather is None else self._gather.hidden(h)

    def _attend(self, heads: Strips, step: Step, angles: Angles | None = None) -> Strips:
        """Attend with the card's heads, and return those of all cards."""
        attended = paged_attention(
            heads,
            (self._keys, self._values),
            step.inputs,
            self._plan,
            sequences=step.sequences,
            tokens=step.tokens,
            blocks=step.blocks,
            angles=angles,
        )
        return attended if self._gather is None else self._gather.attended(attended)
