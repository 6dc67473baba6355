"""Small models with random ternary weights, and helpers that run them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bitnet_tt.backends.base import Batch
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.config import ModelConfig, QuantizationConfig
from bitnet_tt.rope_settings import YarnScaling
from bitnet_tt.weights import (
    LayerWeights,
    LinearWeights,
    LowRank,
    ModelWeights,
    TernaryMatrix,
    TokenTable,
    float32_to_bfloat16,
)
from tests.grouped_matrices import random_grouped

# No size is a multiple of a vector or of a block of the kernels.
BITNET = ModelConfig(
    model_type="bitnet",
    vocab_size=311,
    hidden_size=96,
    intermediate_size=204,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=20,
    max_position_embeddings=640,
    rms_norm_eps=1e-5,
    rope_theta=5e5,
    hidden_act="relu2",
    sub_norms=True,
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_ids=(),
)
LLAMA = replace(
    BITNET,
    model_type="llama",
    hidden_size=128,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=32,
    hidden_act="silu",
    sub_norms=False,
    tie_word_embeddings=False,
    rope_theta=1e4,
)
ONLINE = replace(
    LLAMA,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=16,
    quantization=QuantizationConfig(use_rms_norm=True, rms_norm_eps=3e-6),
)
QWEN3 = replace(
    LLAMA,
    model_type="qwen3",
    qk_norms=True,
    head_dim=20,
    rope_scaling=YarnScaling(4.0, 160, 1.1),
    quantization=QuantizationConfig(use_rms_norm=True),
)
BONSAI = replace(
    QWEN3,
    rope_scaling=YarnScaling(4.0, 160, 0.1 * math.log(4) + 1),  # as GGUF has it
    intermediate_size=320,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=24,
    quantization=QuantizationConfig(group_size=64, ternary_embedding=True, ternary_head=True),
)
CONFIGS = {"bitnet": BITNET, "llama": LLAMA, "online": ONLINE, "qwen3": QWEN3, "bonsai": BONSAI}


def random_ternary(rng: np.random.Generator, out_features: int, in_features: int) -> np.ndarray:
    """Return packed codes of uniformly random -1, 0, +1: uint8 [out / 4, in]."""
    codes = rng.integers(0, 3, (4, out_features // 4, in_features), dtype=np.uint8)
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def random_model(config: ModelConfig, seed: int = 0) -> ModelWeights:
    """Return random weights for this config; equal seeds give equal weights."""
    rng = np.random.default_rng(seed)

    def gain(size: int) -> np.ndarray:
        return rng.uniform(0.5, 1.5, size).astype(np.float32)

    group = config.quantization.group_size

    def linear(out_features: int, in_features: int) -> LinearWeights:
        if group is not None:
            return random_grouped(rng, out_features, in_features, group)
        return TernaryMatrix(
            random_ternary(rng, out_features, in_features),
            np.float32(rng.uniform(0.8, 1.2) / math.sqrt(in_features)),
            gain(in_features) if config.quantization.use_rms_norm else None,
        )

    layers = tuple(
        LayerWeights.of(
            {name: gain(size) for name, size in config.norm_sizes.items()},
            {name: linear(*shape) for name, shape in config.linear_shapes.items()},
        )
        for _ in range(config.num_hidden_layers)
    )
    vocabulary = (config.vocab_size, config.hidden_size)
    tables: list[TokenTable] = [
        float32_to_bfloat16(rng.normal(0, 0.3, vocabulary).astype(np.float32))
        if group is None
        else random_grouped(rng, *vocabulary, group)
        for _ in range(1 if config.tie_word_embeddings else 2)
    ]
    return ModelWeights(embed_tokens=tables[0], layers=layers, norm=gain(config.hidden_size), lm_head=tables[-1])


def random_adapters(config: ModelConfig, weights: ModelWeights, seed: int = 0) -> ModelWeights:
    """Return the weights with random low-rank adapters: of all linears of the first layer, of some in the others."""
    rng = np.random.default_rng(seed)

    def adapter(out_features: int, in_features: int) -> LowRank:
        rank = int(rng.integers(1, 12))
        a, b = rng.normal(0, in_features**-0.5, (rank, in_features)), rng.normal(0, 0.2, (rank, out_features))
        return LowRank(a.astype(np.float32), b.astype(np.float32), np.float32(rng.uniform(0.5, 2)))

    def adapters(layer: int) -> dict[str, LowRank]:
        chosen = {name: shape for name, shape in config.linear_shapes.items() if layer == 0 or rng.random() < 0.5}
        return {name: adapter(*shape) for name, shape in chosen.items()}

    layers = [replace(layer, adapters=adapters(index)) for index, layer in enumerate(weights.layers)]
    return replace(weights, layers=tuple(layers))


def batch_of(
    parts: Sequence[tuple[Sequence[int], int, Sequence[int]]], logit_rows: Sequence[int] | None = None
) -> Batch:
    """Return a batch of (new token ids, position of the first, block table); None means logits of all tokens."""
    tokens = [token for ids, _, _ in parts for token in ids]
    width = max(len(table) for _, _, table in parts)
    return Batch(
        token_ids=np.array(tokens, np.int32),
        starts=np.cumsum([0, *(len(ids) for ids, _, _ in parts)], dtype=np.int32),
        positions=np.array([position for _, position, _ in parts], np.int32),
        block_tables=np.array([[*table, *[-1] * (width - len(table))] for _, _, table in parts], np.int32),
        logit_rows=np.arange(len(tokens), dtype=np.int32) if logit_rows is None else np.array(logit_rows, np.int32),
    )


def logits_of(backend: CPUBackend, token_ids: Sequence[int], block_size: int = 16) -> np.ndarray:
    """Return logits of a whole prompt, computed in one step with a new cache."""
    blocks = -(-len(token_ids) // block_size)
    backend.allocate(blocks, block_size)
    return backend.forward(batch_of([(token_ids, 0, range(blocks))])).copy()
