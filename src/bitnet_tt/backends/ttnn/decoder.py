"""The decoder: one group of rows through all layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.ttnn import numerics
from bitnet_tt.backends.ttnn.attention import Attention, Step
from bitnet_tt.backends.ttnn.device import Card
from bitnet_tt.backends.ttnn.inputs import Inputs
from bitnet_tt.backends.ttnn.mlp import MLP
from bitnet_tt.backends.ttnn.paging import causal_mask, gather_rows
from bitnet_tt.backends.ttnn.plan import TILE, Plan
from bitnet_tt.backends.ttnn.weights import row_vector
from bitnet_tt.reference.rope import rope_tables
from bitnet_tt.weights import LayerWeights, ModelWeights, bfloat16_to_float32


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on the card: its two halves and the norms before them."""

    input_norm: ttnn.Tensor
    attention: Attention
    post_attention_norm: ttnn.Tensor
    mlp: MLP

    @classmethod
    def load(cls, layer: LayerWeights, card: Card, plan: Plan) -> Layer:
        """Put a layer's weights on the card."""
        return cls(
            row_vector(card, layer.input_layernorm),
            Attention(layer, card, plan),
            row_vector(card, layer.post_attention_layernorm),
            MLP(layer, card, plan),
        )


class Decoder:
    """Embedding and layers, with the residual stream in float32."""

    def __init__(self, weights: ModelWeights, card: Card, plan: Plan) -> None:
        self._plan = plan
        self._embedding = card.rows(bfloat16_to_float32(weights.embed_tokens), ttnn.bfloat16)
        self._layers = [Layer.load(layer, card, plan) for layer in weights.layers]
        cos, sin = rope_tables(plan.config, plan.context_length)
        self._cos = card.rows(np.concatenate([cos, cos], axis=1), ttnn.float32)
        self._signed_sin = card.rows(np.concatenate([-sin, sin], axis=1), ttnn.float32)

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
        eps = self._plan.config.rms_norm_eps
        step = self._step(inputs, sequences, blocks, decode)
        # Few rows fit L1 beside the programs' own buffers; operations put their results where their input is.
        memory = ttnn.L1_MEMORY_CONFIG if decode else ttnn.DRAM_MEMORY_CONFIG
        embedded = ttnn.embedding(inputs.token_ids, self._embedding, layout=ttnn.TILE_LAYOUT)
        h = ttnn.reshape(ttnn.typecast(embedded, ttnn.float32, memory_config=memory), [1, *embedded.shape])
        for layer in self._layers:
            h = ttnn.add(h, layer.attention(numerics.rms_norm(h, layer.input_norm, eps), step))
            h = ttnn.add(h, layer.mlp(numerics.rms_norm(h, layer.post_attention_norm, eps)))
        return h

    def _step(self, inputs: Inputs, sequences: int, blocks: int, decode: bool) -> Step:
        tokens = 1 if decode else inputs.positions.shape[1]
        return Step(
            decode=decode,
            sequences=sequences,
            blocks=blocks,
            inputs=inputs,
            cos=gather_rows(self._cos, inputs.positions),
            signed_sin=gather_rows(self._signed_sin, inputs.positions),
            mask=causal_mask(
                inputs.positions,
                sequences,
                self._plan.config.queries_per_kv_head,
                tokens,
                blocks * TILE,
                ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16,
            ),
        )
