"""Models of a given shape with all weights zero: mock mode computes nothing."""

from __future__ import annotations

from functools import partial

import numpy as np

from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import LayerWeights, ModelWeights, TernaryMatrix


def empty_model(config: ModelConfig) -> ModelWeights:
    """Return the weights of a model. All layers share their arrays."""
    linear = partial(_zeros, config.quantization.use_rms_norm)
    layer = LayerWeights.of(
        {name: np.ones(size, np.float32) for name, size in config.norm_sizes.items()},
        {name: linear(*shape) for name, shape in config.linear_shapes.items()},
    )
    embedding = np.zeros((config.vocab_size, config.hidden_size), np.uint16)
    return ModelWeights(
        embedding, (layer,) * config.num_hidden_layers, np.ones(config.hidden_size, np.float32), embedding
    )


def _zeros(input_norms: bool, out_features: int, in_features: int) -> TernaryMatrix:
    packed = np.full((out_features // 4, in_features), 0b01010101, np.uint8)
    return TernaryMatrix(packed, np.float32(1), np.ones(in_features, np.float32) if input_norms else None)
