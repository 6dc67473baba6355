"""The decoder of BitNet b1.58 2B4T (arXiv 2504.12285), and of ternary Llama and Qwen3 models, for one sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.bitlinear import bitlinear, grouped_bitlinear, quantize_activations, widen_groups
from bitnet_tt.reference.rope import apply_rope, rope_tables
from bitnet_tt.weights import GroupedMatrix, LayerWeights, LinearWeights, ModelWeights, bfloat16_to_float32

Array = NDArray[np.float32]
type GroupedProduct = Callable[[Array, GroupedMatrix], Array]


@dataclass(slots=True)
class KVCache:
    """The rotated keys and the values of one sequence so far: for each layer float32 [tokens, kv_heads, head_dim]."""

    keys: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self.keys[0]) if self.keys else 0

    def append(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Add the keys and values of the new tokens to one layer. Return all keys and values of that layer."""
        if layer == len(self.keys):
            self.keys.append(keys)
            self.values.append(values)
        else:
            self.keys[layer] = np.concatenate([self.keys[layer], keys])
            self.values[layer] = np.concatenate([self.values[layer], values])
        return self.keys[layer], self.values[layer]


def forward(
    config: ModelConfig,
    weights: ModelWeights,
    token_ids: Sequence[int],
    cache: KVCache | None = None,
    *,
    grouped: GroupedProduct = grouped_bitlinear,
) -> Array:
    """Return the logits of new tokens that follow those in the cache.

    Args:
        config: The model's shape.
        weights: The model.
        token_ids: The new tokens.
        cache: The sequence so far. The keys and values of the new tokens are added to it.
        grouped: The product with matrices that have group scales. `float_linear` leaves activations as they are, as
            the authors of Ternary-Bonsai do; quantising them is this project's approximation.

    Returns:
        float32 [tokens, vocab].
    """
    cache = KVCache() if cache is None else cache
    eps = config.rms_norm_eps
    cos, sin = rope_tables(config, np.arange(cache.length, cache.length + len(token_ids)))
    embedding, ids = weights.embed_tokens, np.asarray(token_ids)
    h = widen_groups(embedding, ids) if isinstance(embedding, GroupedMatrix) else bfloat16_to_float32(embedding[ids])
    for index, layer in enumerate(weights.layers):
        n = rms_norm(h, layer.input_layernorm, eps)
        h = h + _attention(config, layer, n, cos, sin, cache, index, grouped)
        n = rms_norm(h, layer.post_attention_layernorm, eps)
        h = h + _mlp(config, layer, n, grouped)
    n = rms_norm(h, weights.norm, eps)
    if isinstance(weights.lm_head, GroupedMatrix):
        return grouped(n, weights.lm_head)
    logits: Array = n @ bfloat16_to_float32(weights.lm_head).T
    return logits


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """RMSNorm over the last axis, in float32 throughout (arXiv 1910.07467)."""
    mean_square = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    normalized: Array = gain * (x / np.sqrt(mean_square + np.float32(eps)))
    return normalized


def _attention(
    config: ModelConfig,
    layer: LayerWeights,
    n: Array,
    cos: Array,
    sin: Array,
    cache: KVCache,
    index: int,
    grouped: GroupedProduct,
) -> Array:
    """Return the attention output [tokens, hidden] of layer number `index` for its normed input [tokens, hidden]."""
    tokens = len(n)
    projected = _linears(config, n, grouped, layer.q_proj, layer.k_proj, layer.v_proj)
    q, k, v = (y.reshape(tokens, -1, config.head_dim) for y in projected)
    if layer.q_norm is not None and layer.k_norm is not None:  # each head by itself
        q, k = rms_norm(q, layer.q_norm, config.rms_norm_eps), rms_norm(k, layer.k_norm, config.rms_norm_eps)
    q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
    keys, values = cache.append(index, k, v)
    # Grouped-query attention: query head i reads KV head i // queries_per_kv_head.
    keys, values = (np.repeat(array, config.queries_per_kv_head, axis=1) for array in (keys, values))
    scores = np.einsum("qhd,khd->hqk", q, keys) * np.float32(config.head_dim**-0.5)
    # Causal mask: a query does not see keys of later positions. The queries are the last `tokens` positions.
    positions = np.arange(len(keys))
    future = positions[None, :] > positions[len(keys) - tokens :, None]
    probabilities = _softmax(np.where(future, np.float32(-np.inf), scores))
    a = np.einsum("hqk,khd->qhd", probabilities, values).reshape(tokens, -1)
    if layer.attn_sub_norm is not None:
        a = rms_norm(a, layer.attn_sub_norm, config.rms_norm_eps)
    return _linears(config, a, grouped, layer.o_proj)[0]


def _mlp(config: ModelConfig, layer: LayerWeights, n: Array, grouped: GroupedProduct) -> Array:
    """Return the MLP output [tokens, hidden] for its normed input [tokens, hidden]."""
    gate, up = _linears(config, n, grouped, layer.gate_proj, layer.up_proj)
    if config.hidden_act == "relu2":
        activated = np.maximum(gate, 0) ** 2
    else:  # silu
        with np.errstate(over="ignore"):  # exp(-gate) may be infinite; gate / inf is 0, the correct limit
            activated = gate / (1 + np.exp(-gate))
    product = activated * up
    if layer.ffn_sub_norm is not None:
        product = rms_norm(product, layer.ffn_sub_norm, config.rms_norm_eps)
    return _linears(config, product, grouped, layer.down_proj)[0]


def _linears(config: ModelConfig, x: Array, grouped: GroupedProduct, *weights: LinearWeights) -> list[Array]:
    """Apply BitLinears to the same input. They share one quantised input, unless each has an RMSNorm of its own.

    Those with group scales quantise by themselves.
    """
    shared = quantize_activations(x)
    outputs = []
    for weight in weights:
        norm = weight.input_norm
        n = x if norm is None else rms_norm(x, norm, config.quantization.rms_norm_eps)
        if isinstance(weight, GroupedMatrix):
            outputs.append(grouped(n, weight))
        else:
            outputs.append(bitlinear(*(shared if norm is None else quantize_activations(n)), weight))
    return outputs


def _softmax(x: Array) -> Array:
    """Softmax over the last axis. The maximum is subtracted first, so that exp does not overflow."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    normalized: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalized
