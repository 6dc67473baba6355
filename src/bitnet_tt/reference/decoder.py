"""The decoder of BitNet b1.58 (arXiv 2504.12285), and of Llama with ternary weights, for one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.bitlinear import bitlinear, quantize_activations
from bitnet_tt.reference.rope import apply_rope, rope_tables
from bitnet_tt.weights import LayerWeights, ModelWeights, TernaryMatrix, bfloat16_to_float32

Array = NDArray[np.float32]


@dataclass(slots=True)
class KVCache:
    """Rotated keys and values of one sequence so far: per layer float32 [tokens, kv_heads, head_dim]."""

    keys: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self.keys[0]) if self.keys else 0

    def append(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Add the new tokens' keys and values of one layer; return all of that layer's."""
        if layer == len(self.keys):
            self.keys.append(keys)
            self.values.append(values)
        else:
            self.keys[layer] = np.concatenate([self.keys[layer], keys])
            self.values[layer] = np.concatenate([self.values[layer], values])
        return self.keys[layer], self.values[layer]


def forward(
    config: ModelConfig, weights: ModelWeights, token_ids: Sequence[int], cache: KVCache | None = None
) -> Array:
    """Logits of new tokens that follow those in the cache.

    Args:
        config: The model's shape.
        weights: The model.
        token_ids: The new tokens.
        cache: What came before; the new tokens' keys and values are added to it.

    Returns:
        float32 [tokens, vocab].
    """
    cache = KVCache() if cache is None else cache
    start, end = cache.length, cache.length + len(token_ids)
    cos, sin = (table[start:end] for table in rope_tables(config, end))
    h = bfloat16_to_float32(weights.embed_tokens[np.asarray(token_ids)])
    for index, layer in enumerate(weights.layers):
        h = h + _attention(
            config, layer, rms_norm(h, layer.input_layernorm, config.rms_norm_eps), cos, sin, cache, index
        )
        h = h + _mlp(config, layer, rms_norm(h, layer.post_attention_layernorm, config.rms_norm_eps))
    logits: Array = rms_norm(h, weights.norm, config.rms_norm_eps) @ bfloat16_to_float32(weights.lm_head).T
    return logits


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """RMSNorm over the last axis, float32 throughout (arXiv 1910.07467)."""
    mean_square = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    normalized: Array = gain * (x / np.sqrt(mean_square + np.float32(eps)))
    return normalized


def _attention(
    config: ModelConfig, layer: LayerWeights, x: Array, cos: Array, sin: Array, cache: KVCache, index: int
) -> Array:
    tokens, head_dim = len(x), config.head_dim
    q, k, v = (y.reshape(tokens, -1, head_dim) for y in _linears(config, x, layer.q_proj, layer.k_proj, layer.v_proj))
    keys, values = cache.append(index, apply_rope(k, cos, sin), v)
    keys, values = (np.repeat(array, config.queries_per_kv_head, axis=1) for array in (keys, values))
    scores = np.einsum("qhd,khd->hqk", apply_rope(q, cos, sin), keys) * np.float32(head_dim**-0.5)
    positions = np.arange(len(keys))
    future = positions[None, :] > positions[len(keys) - tokens :, None]
    attended = np.einsum("hqk,khd->qhd", softmax(np.where(future, np.float32(-np.inf), scores)), values)
    out = attended.reshape(tokens, -1)
    if layer.attn_sub_norm is not None:
        out = rms_norm(out, layer.attn_sub_norm, config.rms_norm_eps)
    return _linears(config, out, layer.o_proj)[0]


def _mlp(config: ModelConfig, layer: LayerWeights, x: Array) -> Array:
    gate, up = _linears(config, x, layer.gate_proj, layer.up_proj)
    if config.hidden_act == "relu2":
        activated = np.maximum(gate, 0) ** 2
    else:
        with np.errstate(over="ignore"):  # exp(-gate) may be infinite; gate / inf is the right 0
            activated = gate / (1 + np.exp(-gate))
    out = activated * up
    if layer.ffn_sub_norm is not None:
        out = rms_norm(out, layer.ffn_sub_norm, config.rms_norm_eps)
    return _linears(config, out, layer.down_proj)[0]


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    normalized: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalized


def _linears(config: ModelConfig, x: Array, *weights: TernaryMatrix) -> list[Array]:
    """Apply linears that read the same x: they share one quantised input, unless each has a norm of its own."""
    shared = quantize_activations(x)
    outputs = []
    for weight in weights:
        if weight.input_norm is None:
            q, scale = shared
        else:
            q, scale = quantize_activations(rms_norm(x, weight.input_norm, config.quantization.rms_norm_eps))
        outputs.append(bitlinear(q, scale, weight))
    return outputs
