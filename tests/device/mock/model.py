"""Models of a given shape with nothing in them, since in mock mode nothing is computed."""

from __future__ import annotations

from functools import partial

import numpy as np

from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import LayerWeights, ModelWeights, TernaryMatrix


def empty_model(config: ModelConfig) -> ModelWeights:
    """Weights of a model, all layers sharing their arrays."""
    query, key = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    hidden, intermediate = config.hidden_size, config.intermediate_size
    linear = partial(_zeros, config.quantization.use_rms_norm)
    layer = LayerWeights(
        input_layernorm=np.ones(hidden, np.float32),
        post_attention_layernorm=np.ones(hidden, np.float32),
        attn_sub_norm=np.ones(query, np.float32) if config.sub_norms else None,
        ffn_sub_norm=np.ones(intermediate, np.float32) if config.sub_norms else None,
        q_proj=linear(query, hidden),
        k_proj=linear(key, hidden),
        v_proj=linear(key, hidden),
        o_proj=linear(hidden, query),
        gate_proj=linear(intermediate, hidden),
        up_proj=linear(intermediate, hidden),
        down_proj=linear(hidden, intermediate),
    )
    embedding = np.zeros((config.vocab_size, hidden), np.uint16)
    return ModelWeights(embedding, (layer,) * config.num_hidden_layers, np.ones(hidden, np.float32), embedding)


def _zeros(input_norms: bool, out_features: int, in_features: int) -> TernaryMatrix:
    packed = np.full((out_features // 4, in_features), 0b01010101, np.uint8)
    return TernaryMatrix(packed, np.float32(1), np.ones(in_features, np.float32) if input_norms else None)
