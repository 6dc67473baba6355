"""A small 2B4T decoder in PyTorch, for training: BitLinear with straight-through gradients, or its float twin.

The quantised forward pass computes what docs/numerics.md defines: per-token absmax int8 activations, one absmean
scale per ternary weight tensor, and an exact integer product. Only the gradients treat rounding as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the decoder. `quantised=False` gives the float twin: the same graph with plain linears."""

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 512
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    quantised: bool = True


def quantise_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise to int8 by the absmax of each token; return integers in float32, and scales of shape (..., 1)."""
    scale = 127.0 / x.abs().amax(-1, keepdim=True).clamp_(min=1e-5)
    return (x * scale).round_().clamp_(-128, 127), scale


def quantise_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise to ternary by the absmean of the tensor; return {-1, 0, 1} in float32, and the scale w = mean|W|."""
    scale = weight.abs().mean().clamp_(min=1e-5)
    return (weight / scale).round_().clamp_(-1, 1), scale


class _TernaryProduct(torch.autograd.Function):
    """y = (q · T^T) * (w / s) for one or more weights that share an input; backward is straight-through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        q, scale = quantise_activations(x)
        quantised = [quantise_weights(weight) for weight in weights]
        rows = [weight.shape[0] for weight in weights]
        ternary = torch.cat([t for t, _ in quantised])
        weight_scales = torch.stack([w for _, w in quantised])
        products = (q @ ternary.T).split(rows, -1)
        ctx.save_for_backward(q, scale, ternary, weight_scales)
        ctx.rows = rows
        return tuple(product * (w / scale) for product, (_, w) in zip(products, quantised, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        q, scale, ternary, weight_scales = ctx.saved_tensors
        grad_x = torch.cat([grad * w for grad, w in zip(grads, weight_scales.unbind(), strict=True)], -1) @ ternary
        grad_weights = torch.cat(grads, -1).T @ (q / scale)
        return grad_x, *grad_weights.split(ctx.rows)


class BitLinear(nn.Linear):
    """A linear without bias. If `packed` holds (ternary, scale) of an exported file, it replaces the master weights."""

    packed: tuple[Tensor, Tensor] | None = None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)


def linear_group(x: Tensor, layers: tuple[BitLinear, ...], quantised: bool) -> tuple[Tensor, ...]:
    """Apply linears that share the input `x` of shape (tokens, in); the input is quantised once."""
    if not quantised:
        return tuple(layer(x) for layer in layers)
    packed = [layer.packed for layer in layers if layer.packed is not None]
    if packed:
        q, scale = quantise_activations(x)
        return tuple((q @ ternary.T) * (weight_scale / scale) for ternary, weight_scale in packed)
    outputs: tuple[Tensor, ...] = _TernaryProduct.apply(x, *(layer.weight for layer in layers))
    return outputs


class RMSNorm(nn.Module):
    """Computes weight * x / sqrt(mean(x^2) + eps)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rope_tables(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, shape (length, head_dim); half-split layout: angles are repeated, not interleaved."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    angles = torch.arange(length, dtype=torch.float64)[:, None] * config.rope_theta**-exponents
    angles = torch.cat([angles, angles], -1)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the rotary embedding of x, shape (batch, heads, length, head_dim)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def attention_mask(ids: Tensor) -> Tensor:
    """Return a causal mask that stays within one document of a packed window. A document starts with token id 0."""
    document = (ids == 0).cumsum(-1)
    return (document[:, None, :, None] == document[:, None, None, :]).tril()


class Attention(nn.Module):
    """Grouped-query attention with a norm before the output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, kv_width = (
            heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = BitLinear(config.hidden_size, width)
        self.k_proj = BitLinear(config.hidden_size, kv_width)
        self.v_proj = BitLinear(config.hidden_size, kv_width)
        self.o_proj = BitLinear(width, config.hidden_size)
        self.attn_sub_norm = RMSNorm(width, config.rms_norm_eps)

    def forward(self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attend over x, shape (batch * length, hidden); `mask`, (batch, 1, length, length), is true where allowed."""
        config, batch, length = self.config, mask.shape[0], mask.shape[-1]
        projected = linear_group(x, (self.q_proj, self.k_proj, self.v_proj), config.quantised)
        q, k, v = (part.view(batch, length, -1, config.head_dim).transpose(1, 2) for part in projected)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = config.num_attention_heads // config.num_key_value_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        if self.training:
            q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).float()
        mixed = self.attn_sub_norm(mixed.transpose(1, 2).reshape(batch * length, -1))
        return linear_group(mixed, (self.o_proj,), config.quantised)[0]


class FeedForward(nn.Module):
    """Gated relu^2 feed-forward with a norm before the down projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.quantised = config.quantised
        self.gate_proj = BitLinear(config.hidden_size, config.intermediate_size)
        self.up_proj = BitLinear(config.hidden_size, config.intermediate_size)
        self.down_proj = BitLinear(config.intermediate_size, config.hidden_size)
        self.ffn_sub_norm = RMSNorm(config.intermediate_size, config.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the feed-forward of x, shape (tokens, hidden)."""
        gate, up = linear_group(x, (self.gate_proj, self.up_proj), self.quantised)
        inner = self.ffn_sub_norm(functional.relu(gate).square() * up)
        return linear_group(inner, (self.down_proj,), self.quantised)[0]


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each behind an RMSNorm and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, h: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Compute one residual block over h, shape (batch * length, hidden)."""
        h = h + self.self_attn(self.input_layernorm(h), mask, cos, sin)
        return h + self.mlp(self.post_attention_layernorm(h))


class Decoder(nn.Module):
    """Turns token ids into logits. Its parameters have the names of the checkpoint without the leading `model.`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        cos, sin = rope_tables(config, config.max_position_embeddings)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return normalised hidden states, shape (batch * length, hidden), of ids, shape (batch, length)."""
        batch, length = ids.shape
        mask = attention_mask(ids)
        h = self.embed_tokens(ids).view(batch * length, -1)
        for layer in self.layers:
            h = layer(h, mask, self.cos[:length], self.sin[:length])
        normed: Tensor = self.norm(h)
        return normed

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, shape (batch * length, vocab)."""
        return self.hidden(ids) @ self.embed_tokens.weight.T
