"""The decoder: one group of rows through all layers."""

from __future__ import annotations

from dataclasses import dataclass

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.attention import Attention, Step
from bitnet_tt.backends.tt.model.mlp import MLP
from bitnet_tt.backends.tt.ops.norm_quantize import op as rows
from bitnet_tt.backends.tt.ops.norm_quantize.op import IntegerProduct, Norm
from bitnet_tt.backends.tt.ops.paging import causal_mask
from bitnet_tt.backends.tt.ops.split_heads.op import Angles
from bitnet_tt.backends.tt.planning.plan import TILE, Plan
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import LayerWeights, ModelWeights, bfloat16_to_float32


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on the card: its two halves and the norms before them."""

    input_norm: Norm | None
    attention: Attention
    post_attention_norm: Norm | None
    mlp: MLP

    @classmethod
    def load(cls, layer: LayerWeights, card: Card, plan: Plan) -> Layer:
        """Put a layer's weights on the card."""
        eps = plan.config.rms_norm_eps
        return cls(
            Norm.load(card, layer.input_layernorm, eps),
            Attention(layer, card, plan),
            Norm.load(card, layer.post_attention_layernorm, eps),
            MLP(layer, card, plan),
        )

    def __call__(
        self, h: ttnn.Tensor, pending: IntegerProduct | None, step: Step
    ) -> tuple[ttnn.Tensor, IntegerProduct]:
        """Take the residual stream and what is still to be added to it, and return them."""
        dtype = self.attention.input_dtype
        if pending is None:
            x = rows.normalize(h, self.input_norm, dtype)
        else:
            h, x = rows.add_and_normalize(h, pending, self.input_norm, dtype)
        pending = self.attention(x, step)
        h, x = rows.add_and_normalize(h, pending, self.post_attention_norm, self.mlp.input_dtype)
        return h, self.mlp(x)


class Decoder:
    """Embedding and layers, with the residual stream in float32."""

    def __init__(self, weights: ModelWeights, card: Card, plan: Plan) -> None:
        self._plan = plan
        self._embedding = card.rows(bfloat16_to_float32(weights.embed_tokens), ttnn.bfloat16)
        self._layers = [Layer.load(layer, card, plan) for layer in weights.layers]
        self._angles = Angles.load(card, plan)

    def allocate(self, num_blocks: int) -> None:
        """Make the cache anew."""
        for layer in self._layers:
            layer.attention.allocate(num_blocks)

    def __call__(self, inputs: Inputs, sequences: int, blocks: int, *, decode: bool) -> ttnn.Tensor:
        """Write the rows' keys and values to the cache.

        Args:
            inputs: The rows.
            sequences: Of the block table.
            blocks: Of each sequence that attention reads.
            decode: Whether each row is a sequence of its own.

        Returns:
            Hidden states, float32 [1, 1, rows, hidden].
        """
        step = self._step(inputs, sequences, blocks, decode)
        # Few rows fit L1 beside the programs' own buffers; operations put their results where their input is.
        memory = ttnn.L1_MEMORY_CONFIG if decode else ttnn.DRAM_MEMORY_CONFIG
        embedded = ttnn.embedding(inputs.token_ids, self._embedding, layout=ttnn.TILE_LAYOUT)
        h = ttnn.reshape(ttnn.typecast(embedded, ttnn.float32, memory_config=memory), [1, *embedded.shape])
        pending: IntegerProduct | None = None
        for layer in self._layers:
            h, pending = layer(h, pending, step)
        return h if pending is None else rows.add(h, pending)

    def _step(self, inputs: Inputs, sequences: int, blocks: int, decode: bool) -> Step:
        tokens = 1 if decode else inputs.positions.shape[1]
        return Step(
            sequences=sequences,
            tokens=tokens,
            blocks=blocks,
            inputs=inputs,
            angles=self._angles,
            mask=causal_mask(
                inputs.positions,
                sequences,
                self._plan.config.queries_per_kv_head,
                tokens,
                blocks * TILE,
                ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16,
            ),
        )
