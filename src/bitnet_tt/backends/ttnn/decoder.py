"""The decoder: one group of rows through all layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.ttnn import numerics
from bitnet_tt.backends.ttnn.attention import MASKED, Attention, Step
from bitnet_tt.backends.ttnn.device import Card
from bitnet_tt.backends.ttnn.groups import Group
from bitnet_tt.backends.ttnn.mlp import MLP
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
        self._card, self._plan = card, plan
        self._embedding = card.rows(bfloat16_to_float32(weights.embed_tokens), ttnn.bfloat16)
        self._layers = [Layer.load(layer, card, plan) for layer in weights.layers]
        cos, sin = rope_tables(plan.config, plan.context_length)
        self._cos, self._signed_sin = np.concatenate([cos, cos], axis=1), np.concatenate([-sin, sin], axis=1)

    def allocate(self, num_blocks: int) -> None:
        """Make the cache anew."""
        for layer in self._layers:
            layer.attention.allocate(num_blocks)

    def __call__(self, group: Group) -> ttnn.Tensor:
        """Write the group's keys and values to the cache; return hidden states float32 [1, 1, rows, hidden]."""
        card, eps = self._card, self._plan.config.rms_norm_eps
        step = self._step(group)
        # Few rows fit L1 beside the programs' own buffers; operations put their results where their input is.
        memory = ttnn.L1_MEMORY_CONFIG if group.decode else ttnn.DRAM_MEMORY_CONFIG
        ids = card.rows(group.token_ids, ttnn.uint32)
        embedded = ttnn.embedding(ids, self._embedding, layout=ttnn.TILE_LAYOUT)
        h = ttnn.reshape(ttnn.typecast(embedded, ttnn.float32, memory_config=memory), [1, *embedded.shape])
        for layer in self._layers:
            h = ttnn.add(h, layer.attention(numerics.rms_norm(h, layer.input_norm, eps), step))
            h = ttnn.add(h, layer.mlp(numerics.rms_norm(h, layer.post_attention_norm, eps)))
        return h

    def _step(self, group: Group) -> Step:
        card = self._card
        length = group.table.shape[1] * TILE
        key_positions = card.tiles(np.arange(length, dtype=np.float32)[None, None, None], ttnn.float32)
        limits = card.tiles(group.limits, ttnn.float32)
        dtype = ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16
        return Step(
            decode=group.decode,
            cos=card.tiles(self._cos[group.positions][None, None], ttnn.float32),
            signed_sin=card.tiles(self._signed_sin[group.positions][None, None], ttnn.float32),
            slots=card.rows(group.slots, ttnn.uint32),
            table=card.rows(group.table, ttnn.uint32),
            mask=ttnn.mul(ttnn.gt(key_positions, limits), MASKED, dtype=dtype),
        )
