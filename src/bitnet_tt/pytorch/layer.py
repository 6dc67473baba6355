"""One layer of the decoder: attention and MLP, each behind an RMSNorm and added to the residual stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitnet_tt.config import ModelConfig
from bitnet_tt.pytorch.bitlinear import Linear
from bitnet_tt.pytorch.norm import RMSNorm


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the tokens of a call are. It is the same in every layer, so it is computed once. `batch` may be 1 for all.

    Attributes:
        cos: float32 [batch, 1, tokens, head_dim], of the angles of their positions.
        sin: float32 of the same shape.
        mask: float32 [batch, 1, tokens, keys], added to the scores: 0 where a token sees a key, else a large negative
            number.
        slots: bool [batch, 1, max_length, tokens], true where a slot of the cache gets a token. None without a cache.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor
    slots: Tensor | None = None

    def write(self, cache: Tensor | None, new: Tensor) -> Tensor:
        """Return a cache with the new keys or values in their slots; without a cache, the new ones.

        A product with a one-hot matrix moves the tokens to their slots. Compilers for Tenstorrent run it on the card.
        They run an indexed update on the host. One token needs no product: it is the same in every slot.

        Args:
            cache: float32 [batch, kv_heads, max_length, head_dim].
            new: float32 [batch, kv_heads, tokens, head_dim].
        """
        if cache is None or self.slots is None:
            return new
        if new.shape[2] == 1:
            return torch.where(self.slots, new, cache)
        return torch.where(self.slots.any(-1, keepdim=True), self.slots.to(new.dtype) @ new, cache)


class Layer(nn.Module):
    """A decoder layer. Its norms and linears have the names of the checkpoint's tensors."""

    def __init__(self, config: ModelConfig, linear: Linear) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, linear)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config, linear)

    def forward(
        self, h: Tensor, placement: Placement, keys: Tensor | None, values: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the residual stream after this layer, float32 [batch, tokens, hidden], and this layer's cache."""
        attended, keys, values = self.self_attn(self.input_layernorm(h), placement, keys, values)
        h = h + attended
        return h + self.mlp(self.post_attention_layernorm(h)), keys, values


class Attention(nn.Module):
    """Causal attention with grouped queries and rotary positions."""

    def __init__(self, config: ModelConfig, linear: Linear) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        self.q_proj = make_linear(config, linear, "q_proj")
        self.k_proj = make_linear(config, linear, "k_proj")
        self.v_proj = make_linear(config, linear, "v_proj")
        self.o_proj = make_linear(config, linear, "o_proj")
        self.q_norm, self.k_norm = make_norm(config, "q_norm"), make_norm(config, "k_norm")
        self.attn_sub_norm = make_norm(config, "attn_sub_norm")

    def forward(
        self, n: Tensor, placement: Placement, keys: Tensor | None, values: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the attention output for normed input [batch, tokens, hidden], and the keys and values with its own.

        The linears quantise their input each: a compiler finds that q_proj, k_proj and v_proj do the same.
        """
        batch, tokens, _ = n.shape
        q, k, v = (
            linear(n).view(batch, tokens, -1, self.head_dim).transpose(1, 2)
            for linear in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(self.q_norm(q), placement), rotate(self.k_norm(k), placement)
        keys, values = placement.write(keys, k), placement.write(values, v)
        a = attend(q, keys, values, placement.mask)
        a = a.transpose(1, 2).reshape(batch, tokens, self.heads * self.head_dim)
        return self.o_proj(self.attn_sub_norm(a)), keys, values


def rotate(x: Tensor, placement: Placement) -> Tensor:
    """Rotate each pair of features (i, i + head_dim / 2) by the angle of its token's position (RoPE)."""
    first, second = x.chunk(2, -1)
    return x * placement.cos + torch.cat([-second, first], -1) * placement.sin


def attend(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Return softmax(q · kᵀ / sqrt(head_dim) + mask) · v, where query head i reads KV head i // group.

    The query heads of a group are laid below each other, as if they were more tokens of one head. So keys and values
    are not repeated.

    Args:
        q: float32 [batch, heads, tokens, head_dim].
        keys: float32 [batch, kv_heads, keys, head_dim].
        values: float32 of the same shape.
        mask: float32 [batch, 1, tokens, keys].

    Returns:
        float32 [batch, heads, tokens, head_dim].
    """
    batch, heads, tokens, head_dim = q.shape
    group = heads // keys.shape[1]
    grouped = q.reshape(batch, keys.shape[1], group * tokens, head_dim)
    scores = grouped @ keys.transpose(-1, -2) * head_dim**-0.5 + mask.repeat(1, 1, group, 1)
    return (torch.softmax(scores, -1) @ values).reshape(batch, heads, tokens, head_dim)


class MLP(nn.Module):
    """A gated feed-forward network: down(norm(act(gate(n)) * up(n)))."""

    def __init__(self, config: ModelConfig, linear: Linear) -> None:
        super().__init__()
        self.activation = squared_relu if config.hidden_act == "relu2" else functional.silu
        self.gate_proj = make_linear(config, linear, "gate_proj")
        self.up_proj = make_linear(config, linear, "up_proj")
        self.down_proj = make_linear(config, linear, "down_proj")
        self.ffn_sub_norm = make_norm(config, "ffn_sub_norm")

    def forward(self, n: Tensor) -> Tensor:
        """Compute float32 [batch, tokens, hidden] for normed input of the same shape."""
        return self.down_proj(self.ffn_sub_norm(self.activation(self.gate_proj(n)) * self.up_proj(n)))


def squared_relu(x: Tensor) -> Tensor:
    """Return max(x, 0) squared. It overflows float16."""
    positive = torch.relu(x)
    return positive * positive


def make_linear(config: ModelConfig, linear: Linear, name: str) -> nn.Module:
    """Create the linear with this name; with an RMSNorm of its input if the config has `use_rms_norm`."""
    out_features, in_features = config.linear_shapes[name]
    quantization = config.quantization
    return linear(in_features, out_features, quantization.rms_norm_eps if quantization.use_rms_norm else None)


def make_norm(config: ModelConfig, name: str) -> nn.Module:
    """Create the norm with this name; the identity if the architecture has none."""
    size = config.norm_sizes.get(name)
    return nn.Identity() if size is None else RMSNorm(size, config.rms_norm_eps)
