"""ModelWeights: the only form of a model that backends load from. Every file format becomes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TernaryMatrix:
    """A ternary weight matrix and its scale: W = scale * T, where T [out, in] holds -1, 0 and +1.

    The packing is that of Hugging Face's BitNet checkpoints, so that a mapped file is used without a copy.

    Attributes:
        packed: uint8 [out / 4, in]. Bits 2i..2i+1 of byte [r, c] hold T + 1 of row i * out/4 + r, column c.
        scale: float32, the weight scale w. A product is y = acc * (w / s), where s is the activation scale.
        input_norm: float32 [in], the gain of an RMSNorm before the quantiser of this linear. None if it has no such
            norm (`use_rms_norm` in the config).
    """

    packed: NDArray[np.uint8]
    scale: np.float32
    input_norm: NDArray[np.float32] | None = None

    @property
    def out_features(self) -> int:
        """Number of rows of the matrix."""
        return int(self.packed.shape[0]) * 4

    @property
    def in_features(self) -> int:
        """Number of columns of the matrix."""
        return int(self.packed.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """The weights of one decoder layer. A norm is None if the architecture does not have it.

    Attributes:
        input_layernorm: float32 [hidden].
        post_attention_layernorm: float32 [hidden].
        attn_sub_norm: float32 [heads * head_dim] or None.
        ffn_sub_norm: float32 [intermediate] or None.
        q_norm: float32 [head_dim] or None: of each head of the queries, before rotary positions.
        k_norm: float32 [head_dim] or None: of each head of the keys.
        q_proj: [heads * head_dim, hidden].
        k_proj: [kv_heads * head_dim, hidden].
        v_proj: [kv_heads * head_dim, hidden].
        o_proj: [hidden, heads * head_dim].
        gate_proj: [intermediate, hidden].
        up_proj: [intermediate, hidden].
        down_proj: [hidden, intermediate].
    """

    input_layernorm: NDArray[np.float32]
    post_attention_layernorm: NDArray[np.float32]
    attn_sub_norm: NDArray[np.float32] | None = None
    ffn_sub_norm: NDArray[np.float32] | None = None
    q_norm: NDArray[np.float32] | None = None
    k_norm: NDArray[np.float32] | None = None
    q_proj: TernaryMatrix
    k_proj: TernaryMatrix
    v_proj: TernaryMatrix
    o_proj: TernaryMatrix
    gate_proj: TernaryMatrix
    up_proj: TernaryMatrix
    down_proj: TernaryMatrix

    @classmethod
    def of(cls, norms: Mapping[str, NDArray[np.float32]], linears: Mapping[str, TernaryMatrix]) -> Self:
        """Build a layer from its norms and linears, each under its field's name.

        Args:
            norms: The norms named in `ModelConfig.norm_sizes`.
            linears: The linears named in `LINEAR_NAMES`.
        """
        fields: dict[str, Any] = {**norms, **linears}
        return cls(**fields)

    def linear(self, name: str) -> TernaryMatrix:
        """Return the linear with this name, one of `LINEAR_NAMES`."""
        matrix: TernaryMatrix = getattr(self, name)
        return matrix


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """The weights of a whole model. Large arrays may be read-only views of a memory-mapped file.

    Attributes:
        embed_tokens: bfloat16 [vocab, hidden], as bits in uint16.
        layers: The decoder layers, first to last.
        norm: float32 [hidden], the gain of the final norm.
        lm_head: bfloat16 [vocab, hidden], as bits in uint16. The same array as `embed_tokens` if they are tied.
    """

    embed_tokens: NDArray[np.uint16]
    layers: tuple[LayerWeights, ...]
    norm: NDArray[np.float32]
    lm_head: NDArray[np.uint16]


def bfloat16_to_float32(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert bfloat16 bits to float32. The conversion is exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16 bits. Halves round to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
