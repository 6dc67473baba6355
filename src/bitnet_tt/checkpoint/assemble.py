"""Assemble ModelWeights from stored tensors: find every tensor, decode it, check it, and refuse unexpected ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.check import check_finite, check_names, check_scale, check_shape
from bitnet_tt.checkpoint.families.family import HOW_TO_ANNOUNCE_MASTERS
from bitnet_tt.checkpoint.floats import to_bfloat16, to_float32
from bitnet_tt.checkpoint.gguf_ternary import TERNARY_TYPES, read_ternary
from bitnet_tt.checkpoint.grouped import GROUPED_TYPES, read_blocks, read_floats
from bitnet_tt.checkpoint.loading import WeightChecks
from bitnet_tt.checkpoint.names import (
    EMBEDDING,
    FINAL_NORM,
    LM_HEAD,
    input_norm_name,
    layer_prefix,
    linear_path,
    norm_path,
)
from bitnet_tt.checkpoint.packing import unpair_rotary_rows
from bitnet_tt.checkpoint.quantize import pack_unpacked, quantize_master
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.weights import GroupedMatrix, LayerWeights, LinearWeights, ModelWeights, TernaryMatrix, TokenTable

IGNORED_ENDINGS = (".rotary_emb.inv_freq",)
"""Endings of the names of tensors that we ignore, because the config determines their values."""


@dataclass(slots=True)
class Assembler:
    """Takes tensors by canonical name and remembers which it took.

    Attributes:
        where: The checkpoint, for error messages.
        config: The configuration that the tensors must fit.
        tensors: Every tensor of the checkpoint, by canonical name.
        settings: The settings that determine which tensors there are, for error messages.
        stored_name: Returns the name that the checkpoint gives a tensor, for error messages.
        rotary_pairs: Whether the rows of q and k are stored in pairs (see `packing`).
        checks: Checks the matrices and tables.
        notes: Collects what users should know, such as an embedding that had to be rounded.
    """

    where: str
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    settings: str
    stored_name: Callable[[str], str]
    rotary_pairs: bool
    checks: WeightChecks
    notes: list[str]
    _used: set[str] = field(default_factory=set)

    def model(self) -> ModelWeights:
        """Load all weights.

        Raises:
            CheckpointError: A tensor is missing, unexpected, of the wrong shape, or damaged; the message names it.
        """
        config = self.config
        vocabulary = (config.vocab_size, config.hidden_size)
        embed_tokens = self._table(EMBEDDING, vocabulary, ternary=config.quantization.ternary_embedding)
        layers = tuple(self._layer(layer_prefix(i)) for i in range(config.num_hidden_layers))
        norm = self._norm(FINAL_NORM, config.hidden_size)
        if config.tie_word_embeddings:
            self._used.add(LM_HEAD)  # if it is stored, it is a copy of the embedding
            lm_head = embed_tokens
        else:
            lm_head = self._table(LM_HEAD, vocabulary, ternary=config.quantization.ternary_head)
        check_names(self.tensors, self._used, IGNORED_ENDINGS, self.settings)
        return ModelWeights(embed_tokens, layers, norm, lm_head)

    def _layer(self, prefix: str) -> LayerWeights:
        config = self.config
        norms = {
            name: self._norm(f"{prefix}{norm_path(name)}.weight", size) for name, size in config.norm_sizes.items()
        }
        linears = {
            name: self._linear(prefix + linear_path(name), shape) for name, shape in config.linear_shapes.items()
        }
        return LayerWeights.of(norms, linears)

    def _linear(self, path: str, shape: tuple[int, int]) -> LinearWeights:
        weight = self._take(path + ".weight")
        if self.config.quantization.group_size is not None:
            return replace(self._grouped(weight, shape), input_norm=self._input_norm(path, shape[1]))
        packed, scale = self._ternary(path, weight, shape)
        if self.rotary_pairs and path.endswith(("q_proj", "k_proj")):
            packed = unpair_rotary_rows(packed, heads=shape[0] // self.config.head_dim)
        self.checks.packed(weight, packed)
        return TernaryMatrix(packed, scale, self._input_norm(path, shape[1]))

    def _input_norm(self, path: str, size: int) -> NDArray[np.float32] | None:
        return self._norm(input_norm_name(path), size) if self.config.quantization.use_rms_norm else None

    def _grouped(self, tensor: StoredTensor, shape: tuple[int, int]) -> GroupedMatrix:
        """Return a matrix with group scales, in whichever of the forms of `grouped` it is stored."""
        check_shape(tensor, shape)
        if tensor.dtype in GROUPED_TYPES:
            matrix = read_blocks(tensor, self.notes)
        else:
            matrix = read_floats(tensor, self.config.quantization.group_size or 0)
        self.checks.advance(tensor)
        return matrix

    def _ternary(self, path: str, weight: StoredTensor, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], np.float32]:
        """Return the codes and the weight scale of a linear, in whichever of the four forms it is stored."""
        if weight.dtype == "U8":
            check_shape(weight, (shape[0] // 4, shape[1]))
            if self.config.quantization.quantization_mode != "offline":
                raise weight.error('is packed, but config.json has no quantization_config of mode "offline"; add one')
            return weight.array(), self._weight_scale(path)
        check_shape(weight, shape)
        if weight.dtype in TERNARY_TYPES:
            packed, scale = read_ternary(weight)
            check_scale(weight, scale)
            return packed, scale
        if path + ".weight_scale" in self.tensors:
            return pack_unpacked(weight), self._weight_scale(path)
        if self.config.quantization.quantization_mode == "offline":
            raise weight.error(
                f"has type {weight.dtype} and no weight_scale; if this checkpoint holds master weights, "
                f"{HOW_TO_ANNOUNCE_MASTERS}"
            )
        return quantize_master(weight)

    def _weight_scale(self, path: str) -> np.float32:
        tensor = self._take(path + ".weight_scale")
        values = to_float32(tensor).reshape(-1)
        if values.size != 1:
            raise tensor.error(
                f"has {values.size} values, but only one scale per matrix is supported; use another checkpoint"
                " of this model"
            )
        check_scale(tensor, values[0])
        multiply = self.config.quantization.linear_class == "autobitlinear"
        scale = values[0] if multiply else np.float32(1) / values[0]
        check_scale(tensor, scale)
        return np.float32(scale)

    def _norm(self, name: str, size: int) -> NDArray[np.float32]:
        tensor = self._take(name)
        check_shape(tensor, (size,))
        gains = to_float32(tensor)
        check_finite(tensor, gains)
        return gains

    def _table(self, name: str, shape: tuple[int, int], *, ternary: bool) -> TokenTable:
        tensor = self._take(name)
        if ternary:
            return self._grouped(tensor, shape)
        check_shape(tensor, shape)
        bits, exact = to_bfloat16(tensor)
        self.checks.table(tensor, bits)
        if not exact:
            self.notes.append(f"{tensor.name} is stored as {tensor.dtype} and was rounded to bfloat16")
        return bits

    def _take(self, name: str) -> StoredTensor:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.where}: tensor {self.stored_name(name)} is missing; download the checkpoint again, or check "
                f"{self.settings}"
            )
        self._used.add(name)
        return tensor
