"""ModelWeights: the one form of a model that backends load from, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TernaryMatrix:
    """A ternary weight matrix and its scale: W[out, in] = scale * T, T in {-1, 0, +1}.

    The packing is that of the Hugging Face checkpoints, so that their bytes are used where they lie, memory-mapped.

    Attributes:
        packed: uint8 [out / 4, in]. Bits 2i..2i+1 of byte [r, c] hold row i * out/4 + r, column c, as T + 1.
        scale: float32 weight scale w; y = acc * (w / s) with s the activation scale.
        input_norm: float32 [in] gain of an RMSNorm before the quantiser of this linear, or None (`use_rms_norm`).
    """

    packed: NDArray[np.uint8]
    scale: np.float32
    input_norm: NDArray[np.float32] | None = None

    @property
    def out_features(self) -> int:
        """Rows of the matrix."""
        return int(self.packed.shape[0]) * 4

    @property
    def in_features(self) -> int:
        """Columns of the matrix."""
        return int(self.packed.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One decoder layer. Norm gains are float32; a sub-norm is None where the architecture has none.

    Attributes:
        input_layernorm: float32 [hidden].
        post_attention_layernorm: float32 [hidden].
        attn_sub_norm: float32 [heads * head_dim] or None.
        ffn_sub_norm: float32 [intermediate] or None.
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
    q_proj: TernaryMatrix
    k_proj: TernaryMatrix
    v_proj: TernaryMatrix
    o_proj: TernaryMatrix
    gate_proj: TernaryMatrix
    up_proj: TernaryMatrix
    down_proj: TernaryMatrix

    @classmethod
    def of(cls, norms: Mapping[str, NDArray[np.float32]], linears: Mapping[str, TernaryMatrix]) -> Self:
        """Build a layer from its norms and linears by name, as in `ModelConfig.norm_sizes` and `linear_shapes`."""
        fields: dict[str, Any] = {**norms, **linears}
        return cls(**fields)

    def linear(self, name: str) -> TernaryMatrix:
        """Return the linear of a name."""
        matrix: TernaryMatrix = getattr(self, name)
        return matrix


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """A whole model. Large arrays may be read-only views of a memory-mapped file.

    Attributes:
        embed_tokens: bfloat16 [vocab, hidden] as its bits in uint16.
        layers: the decoder layers, first to last.
        norm: float32 [hidden], the final norm.
        lm_head: bfloat16 [vocab, hidden] as its bits in uint16; the same array as `embed_tokens` when tied.
    """

    embed_tokens: NDArray[np.uint16]
    layers: tuple[LayerWeights, ...]
    norm: NDArray[np.float32]
    lm_head: NDArray[np.uint16]


def bfloat16_to_float32(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Widen bfloat16, given as its bits, to float32; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16 bits, half to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
