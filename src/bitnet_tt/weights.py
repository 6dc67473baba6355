"""ModelWeights: the only form of a model that backends load from. Every file format becomes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import CheckpointError


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


GROUPED_ROWS = 16
"""Rows of a `GroupedMatrix` that are stored together."""


@dataclass(frozen=True, slots=True)
class GroupedMatrix:
    """A ternary matrix with a scale for each group of columns of a row: W[r, c] = scale[r, c // group] * T[r, c].

    T holds -1, 0 and +1. A file in Q2_0 can also hold +2, which is computed exactly.

    Sixteen rows are stored together, group by group: first the float16 scales of the 16 rows, then 64 bytes for each
    16 columns, which are a 32-bit word for each row. Bits 2i..2i+1 of byte k of a word hold T + 1 of column 4k + i. The
    CPU backend multiplies them as they are: 16 rows are the lanes of its vectors (`native/kernels/grouped.hpp`).

    Attributes:
        blocks: uint8 [out / 16 rounded up, (in / group) * (32 + 4 * group)]. Rows beyond `out` have the scale 0.
        out_features: Number of rows of the matrix.
        in_features: Number of columns, a multiple of `group`.
        group: Columns that share a scale: 64 or 128.
        input_norm: As in `TernaryMatrix`.
    """

    blocks: NDArray[np.uint8]
    out_features: int
    in_features: int
    group: int
    input_norm: NDArray[np.float32] | None = None

    @property
    def blocks_shape(self) -> tuple[int, int]:
        """The shape that `blocks` must have."""
        return grouped_shape(self.out_features, self.in_features, self.group)


def grouped_shape(out_features: int, in_features: int, group: int) -> tuple[int, int]:
    """Return the shape of the `blocks` of a `GroupedMatrix`. Their product is its size in bytes."""
    return -(-out_features // GROUPED_ROWS), in_features // group * GROUPED_ROWS * (2 + group // 4)


type LinearWeights = TernaryMatrix | GroupedMatrix
type TokenTable = NDArray[np.uint16] | GroupedMatrix


_GROUPS_REFUSED = "scales for groups of weights are not supported here: use the CPU backend"


def with_one_scale(matrix: LinearWeights) -> TernaryMatrix:
    """Return a linear that has one scale.

    Raises:
        CheckpointError: It has group scales. Whoever takes none checks `QuantizationConfig.group_size` earlier.
    """
    if isinstance(matrix, GroupedMatrix):
        raise CheckpointError(_GROUPS_REFUSED)
    return matrix


def as_array(table: NDArray[Any] | GroupedMatrix) -> NDArray[Any]:
    """Return an embedding or lm_head that is an array.

    Raises:
        CheckpointError: It is ternary, as for `with_one_scale`.
    """
    if isinstance(table, GroupedMatrix):
        raise CheckpointError(_GROUPS_REFUSED)
    return table


@dataclass(frozen=True, slots=True)
class LowRank:
    """A low-rank adapter (LoRA) of a linear: it adds B ((A x) * scaling) to the output for the input x.

    Attributes:
        a: float32 [rank, in].
        b: float32 [rank, out], the transpose of B.
        scaling: float32.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scaling: np.float32


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """The weights of one decoder layer. A norm is None if the architecture does not have it.

    The linears of a model are all `TernaryMatrix`, or all `GroupedMatrix` with the groups that its config gives.

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
        adapters: The adapters of linears, by the linear's name.
    """

    input_layernorm: NDArray[np.float32]
    post_attention_layernorm: NDArray[np.float32]
    attn_sub_norm: NDArray[np.float32] | None = None
    ffn_sub_norm: NDArray[np.float32] | None = None
    q_norm: NDArray[np.float32] | None = None
    k_norm: NDArray[np.float32] | None = None
    q_proj: LinearWeights
    k_proj: LinearWeights
    v_proj: LinearWeights
    o_proj: LinearWeights
    gate_proj: LinearWeights
    up_proj: LinearWeights
    down_proj: LinearWeights
    adapters: Mapping[str, LowRank] = field(default_factory=dict)

    @classmethod
    def of(cls, norms: Mapping[str, NDArray[np.float32]], linears: Mapping[str, LinearWeights]) -> Self:
        """Build a layer from its norms and linears, each under its field's name.

        Args:
            norms: The norms named in `ModelConfig.norm_sizes`.
            linears: The linears named in `LINEAR_NAMES`.
        """
        fields: dict[str, Any] = {**norms, **linears}
        return cls(**fields)

    def linear(self, name: str) -> LinearWeights:
        """Return the linear with this name, one of `LINEAR_NAMES`."""
        matrix: LinearWeights = getattr(self, name)
        return matrix


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """The weights of a whole model. Large arrays may be read-only views of a memory-mapped file.

    Attributes:
        embed_tokens: bfloat16 [vocab, hidden], as bits in uint16; or a ternary [vocab, hidden].
        layers: The decoder layers, first to last.
        norm: float32 [hidden], the gain of the final norm.
        lm_head: As `embed_tokens`, and the same object if they are tied.
    """

    embed_tokens: TokenTable
    layers: tuple[LayerWeights, ...]
    norm: NDArray[np.float32]
    lm_head: TokenTable


def bfloat16_to_float32(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert bfloat16 bits to float32. The conversion is exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16 bits. Halves round to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
