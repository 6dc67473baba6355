"""Random models in the shapes of real ones: the same bytes and operations, without a download."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint import save_packed
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import ConfigError
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.weights import LayerWeights, ModelWeights, TernaryMatrix, float32_to_bfloat16

SHAPES: Mapping[str, Mapping[str, int]] = {
    "2b4t": {
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 30,
        "num_attention_heads": 20,
        "num_key_value_heads": 5,
        "vocab_size": 128256,
        "max_position_embeddings": 4096,
    },
    "0.7b": {
        "hidden_size": 1536,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
    },
}
"""Shapes by name: `2b4t` is that of microsoft/bitnet-b1.58-2B-4T, `0.7b` is like 1bitLLM/bitnet_b1_58-large."""

_FIELDS = {
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "vocab": "vocab_size",
}

_ZEROS = 0.42
"""The share of zeros in the ternary weights of trained models."""


def synthetic_config(shape: str) -> ModelConfig:
    """Return the configuration of a shape, in the architecture of 2B4T.

    Args:
        shape: A name in `SHAPES`, and after it the sizes that differ, such as `2b4t,layers=4,vocab=1000`.

    Raises:
        ConfigError: The shape is unknown, or its sizes contradict each other.
    """
    name, *changes = shape.split(",")
    if name not in SHAPES:
        raise ConfigError(f"unknown shape {name!r}; known shapes: {', '.join(SHAPES)}")
    sizes = dict(SHAPES[name])
    for change in changes:
        field, _, size = change.partition("=")
        if field not in _FIELDS or not size.isdecimal():
            raise ConfigError(f"{change!r} is not a size of a shape; sizes are {'=N, '.join(_FIELDS)}=N")
        sizes[_FIELDS[field]] = int(size)
    return ModelConfig.from_dict(
        {
            "model_type": "bitnet",
            "hidden_act": "relu2",
            "tie_word_embeddings": True,
            "rope_theta": 500000.0,
            "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
            **sizes,
        }
    )


def synthetic_checkpoint(shape: str, folder: Path, progress: Progress | None = None) -> Path:
    """Return the checkpoint folder of a random model in `folder`. If it does not exist, write it.

    Raises:
        ConfigError: As for `synthetic_config`.
        CheckpointError: The checkpoint cannot be written.
    """
    config = synthetic_config(shape)
    target = folder / f"synthetic-{shape}"
    if not target.exists():
        save_packed(config, synthetic_weights(config), target, progress=progress)
    return target


def synthetic_weights(config: ModelConfig, seed: int = 0) -> ModelWeights:
    """Return random weights: ternary with the usual share of zeros, and scales that keep activations in range."""
    rng = np.random.default_rng(seed)

    def matrix(out_features: int, in_features: int) -> TernaryMatrix:
        packed = _BYTES[rng.integers(0, 256, (out_features // 4, in_features), dtype=np.uint8)]
        return TernaryMatrix(packed, np.float32(((1 - _ZEROS) * in_features) ** -0.5))

    def ones(size: int) -> NDArray[np.float32]:
        return np.ones(size, np.float32)

    normal = float32_to_bfloat16(rng.standard_normal(1 << 16).astype(np.float32) * np.float32(0.5))
    embed_tokens = normal[rng.integers(0, 1 << 16, (config.vocab_size, config.hidden_size), dtype=np.uint16)]
    layers = tuple(
        LayerWeights.of(
            {name: ones(size) for name, size in config.norm_sizes.items()},
            {name: matrix(*shape) for name, shape in config.linear_shapes.items()},
        )
        for _ in range(config.num_hidden_layers)
    )
    return ModelWeights(embed_tokens, layers, ones(config.hidden_size), embed_tokens)


def _byte_table() -> NDArray[np.uint8]:
    """Return 256 bytes of four packed ternary weights, each of the 81 patterns as often as it is probable."""
    patterns = list(itertools.product((0, 1, 2), repeat=4))
    share = [np.prod([_ZEROS if trit == 1 else (1 - _ZEROS) / 2 for trit in pattern]) for pattern in patterns]
    bounds = np.rint(np.cumsum(share) * 256).astype(int)
    packed = np.array([sum(trit << (2 * i) for i, trit in enumerate(pattern)) for pattern in patterns], np.uint8)
    return np.repeat(packed, np.diff(bounds, prepend=0))


_BYTES = _byte_table()
