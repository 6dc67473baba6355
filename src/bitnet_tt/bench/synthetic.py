"""Random models in the shapes of real ones: the same bytes and operations, without a download."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint import save_packed
from bitnet_tt.checkpoint.grouped import empty_matrix, with_groups
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import ConfigError
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.weights import (
    GROUPED_ROWS,
    GroupedMatrix,
    LayerWeights,
    LinearWeights,
    ModelWeights,
    TernaryMatrix,
    TokenTable,
    float32_to_bfloat16,
)

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
    "bonsai-1.7b": {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 151669,
        "max_position_embeddings": 32768,
    },
    "bonsai-4b": {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 151669,
        "max_position_embeddings": 32768,
    },
    "bonsai-8b": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 151669,
        "max_position_embeddings": 65536,
    },
}
"""Shapes by name: `2b4t` is that of microsoft/bitnet-b1.58-2B-4T, `0.7b` is like 1bitLLM/bitnet_b1_58-large, and the
others are those of prism-ml/Ternary-Bonsai."""

_QUANTIZATION = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
_BITNET: Mapping[str, Any] = {
    "model_type": "bitnet",
    "hidden_act": "relu2",
    "tie_word_embeddings": True,
    "rope_theta": 500000.0,
    "quantization_config": _QUANTIZATION,
}
_BONSAI: Mapping[str, Any] = {
    "model_type": "qwen3",
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "head_dim": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "quantization_config": _QUANTIZATION,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16384}
_SETTINGS = {
    "2b4t": _BITNET,
    "0.7b": _BITNET,
    "bonsai-1.7b": _BONSAI,
    "bonsai-4b": _BONSAI,
    "bonsai-8b": {**_BONSAI, "tie_word_embeddings": False, "rope_scaling": _YARN},
}
"""Fields of config.json that are not sizes, by the name of a shape."""

_BONSAI_GROUP = 128

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
    """Return the configuration of a shape.

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
    config = ModelConfig.from_dict({**_SETTINGS[name], **sizes})
    return with_groups(config, _BONSAI_GROUP) if config.qk_norms else config


def synthetic_checkpoint(shape: str, folder: Path, progress: Progress | None = None) -> Path:
    """Return the checkpoint of a random model in `folder`. If it does not exist, write it.

    It is a folder of packed safetensors, or a GGUF file without a tokenizer if weights have group scales.

    Raises:
        ConfigError: As for `synthetic_config`.
        CheckpointError: The checkpoint cannot be written.
    """
    config = synthetic_config(shape)
    grouped = config.quantization.group_size is not None
    target = folder / f"synthetic-{shape}{'.gguf' if grouped else ''}"
    if not target.exists():
        weights = synthetic_weights(config)
        if grouped:
            save_gguf(config, weights, target, tokenizer_metadata={}, progress=progress)
        else:
            save_packed(config, weights, target, progress=progress)
    return target


def synthetic_weights(config: ModelConfig, seed: int = 0) -> ModelWeights:
    """Return random weights: ternary with the usual share of zeros, and scales that keep activations in range."""
    rng = np.random.default_rng(seed)
    group = config.quantization.group_size

    def packed(*shape: int) -> NDArray[np.uint8]:
        codes: NDArray[np.uint8] = _BYTES[rng.integers(0, 256, shape, dtype=np.uint8)]
        return codes

    def matrix(out_features: int, in_features: int) -> LinearWeights:
        scale = ((1 - _ZEROS) * in_features) ** -0.5
        if group is not None:
            return grouped(out_features, in_features, group, scale)
        return TernaryMatrix(packed(out_features // 4, in_features), np.float32(scale))

    def grouped(out_features: int, in_features: int, group: int, scale: float) -> GroupedMatrix:
        result = empty_matrix(out_features, in_features, group)
        records = result.blocks.reshape(len(result.blocks), in_features // group, -1)
        scales = (scale * rng.uniform(0.5, 1.5, (*records.shape[:2], GROUPED_ROWS))).astype(np.float16)
        records[:, :, : 2 * GROUPED_ROWS] = scales.view(np.uint8)
        for part in records:  # of 16 rows, so that random numbers take little memory
            part[:, 2 * GROUPED_ROWS :] = packed(len(part), GROUPED_ROWS * group // 4)
        return result

    def table() -> TokenTable:
        vocabulary = (config.vocab_size, config.hidden_size)
        if group is not None:
            return grouped(*vocabulary, group, 0.5)
        values: NDArray[np.uint16] = normal[rng.integers(0, 1 << 16, vocabulary, dtype=np.uint16)]
        return values

    def ones(size: int) -> NDArray[np.float32]:
        return np.ones(size, np.float32)

    normal = float32_to_bfloat16(rng.standard_normal(1 << 16).astype(np.float32) * np.float32(0.5))
    embed_tokens = table()
    layers = tuple(
        LayerWeights.of(
            {name: ones(size) for name, size in config.norm_sizes.items()},
            {name: matrix(*shape) for name, shape in config.linear_shapes.items()},
        )
        for _ in range(config.num_hidden_layers)
    )
    lm_head = embed_tokens if config.tie_word_embeddings else table()
    return ModelWeights(embed_tokens, layers, ones(config.hidden_size), lm_head)


def _byte_table() -> NDArray[np.uint8]:
    """Return 256 bytes of four packed ternary weights, each of the 81 patterns as often as it is probable."""
    patterns = list(itertools.product((0, 1, 2), repeat=4))
    share = [np.prod([_ZEROS if trit == 1 else (1 - _ZEROS) / 2 for trit in pattern]) for pattern in patterns]
    bounds = np.rint(np.cumsum(share) * 256).astype(int)
    packed = np.array([sum(trit << (2 * i) for i, trit in enumerate(pattern)) for pattern in patterns], np.uint8)
    return np.repeat(packed, np.diff(bounds, prepend=0))


_BYTES = _byte_table()
