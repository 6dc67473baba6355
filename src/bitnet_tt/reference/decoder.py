"""The decoder of BitNet b1.58 2B4T (arXiv 2504.12285), and of ternary Llama and Qwen3 models, for one sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.bitlinear import Array, bitlinear, grouped_bitlinear, quantize_activations, widen_groups
from bitnet_tt.reference.rope import apply_rope, rope_tables
from bitnet_tt.weights import GroupedMatrix, LayerWeights, ModelWeights, bfloat16_to_float32

type GroupedProduct = Callable[[Array, GroupedMatrix], Array]


@dataclass(slots=True)
class KVCache:
    """The rotated keys and the values of one sequence so far: for each layer [tokens, kv_heads, head_dim]."""

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
    dtype: type[np.float32 | np.float64] = np.float32,
    grouped: GroupedProduct = grouped_bitlinear,
) -> Array:
    """Return the logits of new tokens that follow those in the cache.

    The contract is float32. Two correct implementations of it may add in different orders. Then a number near the
    middle of two integers may be quantised to either of them. In float64 this does not happen in practice:
    implementations of the same formulas have the same integers.

    Args:
        config: The model's shape.
        weights: The model.
        token_ids: The new tokens.
        cache: The sequence so far. The keys and values of the new tokens are added to it.
        dtype: The type of all numbers that are not integers.
        grouped: The product with matrices that have group scales. `float_linear` leaves activations as they are, as
            the authors of Ternary-Bonsai do; quantising them is this project's approximation.

    Returns:
        [tokens, vocab] of `dtype`.
    """
    cache = KVCache() if cache is None else cache
    eps = config.rms_norm_eps
    cos, sin = rope_tables(config, np.arange(cache.length, cache.length + len(token_ids)))
    embedding, ids = weights.embed_tokens, np.asarray(token_ids)
    rows = widen_groups(embedding, ids) if isinstance(embedding, GroupedMatrix) else bfloat16_to_float32(embedding[ids])
    h: Array = rows.astype(dtype)
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
    """RMSNorm over the last axis (arXiv 1910.07467)."""
    normalized: Array = gain * (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps))
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
    projected = _linears(config, layer, n, grouped, "q_proj", "k_proj", "v_proj")
    q, k, v = (y.reshape(tokens, -1, config.head_dim) for y in projected)
    if layer.q_norm is not None and layer.k_norm is not None:  # each head by itself
        q, k = rms_norm(q, layer.q_norm, config.rms_norm_eps), rms_norm(k, layer.k_norm, config.rms_norm_eps)
    q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
    keys, values = cache.append(index, k, v)
    # Grouped-query attention: query head i reads KV head i // queries_per_kv_head.
    keys, values = (np.repeat(array, config.queries_per_kv_head, axis=1) for array in (keys, values))
    scores = np.einsum("qhd,khd->hqk", q, keys) * config.head_dim**-0.5
    # Causal mask: a query does not see keys of later positions. The queries are the last `tokens` positions.
    positions = np.arange(len(keys))
    future = positions[None, :] > positions[len(keys) - tokens :, None]
    probabilities = _softmax(np.where(future, scores.dtype.type(-np.inf), scores))
    a = np.einsum("hqk,khd->qhd", probabilities, values).reshape(tokens, -1)
    if layer.attn_sub_norm is not None:
        a = rms_norm(a, layer.attn_sub_norm, config.rms_norm_eps)
    return _linears(config, layer, a, grouped, "o_proj")[0]


def _mlp(config: ModelConfig, layer: LayerWeights, n: Array, grouped: GroupedProduct) -> Array:
    """Return the MLP output [tokens, hidden] for its normed input [tokens, hidden]."""
    gate, up = _linears(config, layer, n, grouped, "gate_proj", "up_proj")
    if config.hidden_act == "relu2":
        activated = np.maximum(gate, 0) ** 2
    else:  # silu
        with np.errstate(over="ignore"):  # exp(-gate) may be infinite; gate / inf is 0, the correct limit
            activated = gate / (1 + np.exp(-gate))
    product = activated * up
    if layer.ffn_sub_norm is not None:
        product = rms_norm(product, layer.ffn_sub_norm, config.rms_norm_eps)
    return _linears(config, layer, product, grouped, "down_proj")[0]


def _linears(config: ModelConfig, layer: LayerWeights, x: Array, grouped: GroupedProduct, *names: str) -> list[Array]:
    """Apply linears of a layer to one input. They share its quantised form, unless each has an RMSNorm of its own.

    Those with group scales quantise by themselves.
    """
    shared = quantize_activations(x)
    outputs = []
    for name in names:
        weight = layer.linear(name)
        norm = weight.input_norm
        n = x if norm is None else rms_norm(x, norm, config.quantization.rms_norm_eps)
        if isinstance(weight, GroupedMatrix):
            y = grouped(n, weight)
        else:
            y = bitlinear(*(shared if norm is None else quantize_activations(n)), weight)
        if name in layer.adapters:  # LoRA, arXiv 2106.09685
            adapter = layer.adapters[name]
            y = y + (x @ adapter.a.T * adapter.scaling) @ adapter.b
        outputs.append(y)
    return outputs


def _softmax(x: Array) -> Array:
    """Softmax over the last axis. The maximum is subtracted first, so that exp does not overflow."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    normalized: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return normalized
