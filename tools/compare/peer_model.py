"""Write a model as a GGUF file that llama.cpp can time: the same shape, and 2.06 bits per ternary weight.

With TQ2_0 the text differs: llama.cpp's `bitnet` architecture computes SiLU where 2B4T computes squared ReLU. Group
scales of 128 weights become Q2_0's scales of 64, two equal ones for each: 2.25 bits. The files have no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.gguf_config import model_metadata
from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.checkpoint.grouped import write_blocks
from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.checkpoint.packing import TQ_BLOCK, codes_to_tq2_0, unpack
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BenchmarkError
from bitnet_tt.formats.gguf import GGUFTensor, write_gguf
from bitnet_tt.formats.staging import staged
from bitnet_tt.weights import GroupedMatrix, ModelWeights, TernaryMatrix, as_array, bfloat16_to_float32

_HEADER_BYTES = 1 << 20
_FILE_TYPES = {"TQ2_0": 37, "Q2_0": 28}
"""The number of each type for `general.file_type`: llama_ftype in llama.h."""

_Q2_0_BLOCK = 64  # weights that share a scale


def save_q2_0(config: ModelConfig, weights: ModelWeights, target: Path) -> None:
    """Write a GGUF file with Q2_0 matrices, the embedding and the lm_head too, and F32 norms.

    Args:
        config: A model with group scales.
        weights: Its weights.
        target: The file to create.

    Raises:
        CheckpointError: The file cannot be written.
    """
    _save(config, list(_grouped_tensors(config, weights)), "Q2_0", target)


def save_tq2_0(config: ModelConfig, weights: ModelWeights, target: Path) -> None:
    """Write a GGUF file with TQ2_0 linears, F32 norms and F16 embeddings.

    Raises:
        BenchmarkError: llama.cpp has no such architecture, or TQ2_0 cannot store these shapes.
        CheckpointError: The file cannot be written.
    """
    if config.hidden_size % TQ_BLOCK or config.intermediate_size % TQ_BLOCK:
        raise BenchmarkError(
            f"llama.cpp's TQ2_0 needs sizes that are multiples of {TQ_BLOCK}, but this model has hidden_size "
            f"{config.hidden_size} and intermediate_size {config.intermediate_size}; compare with --synthetic 2b4t"
        )
    if config.num_attention_heads * config.head_dim != config.hidden_size or config.quantization.use_rms_norm:
        raise BenchmarkError(
            "llama.cpp cannot run a model whose heads are wider than its hidden_size or whose linears have their own "
            "norms; compare with --synthetic 2b4t"
        )
    _save(config, list(_tensors(config, weights)), "TQ2_0", target)


def _save(config: ModelConfig, tensors: Sequence[GGUFTensor], kind: str, target: Path) -> None:
    metadata = model_metadata(config, config.architecture, target.stem, _FILE_TYPES[kind])
    metadata["tokenizer.ggml.model"] = "none"
    with staged(target, sum(tensor.size for tensor in tensors) + _HEADER_BYTES, overwrite=False) as path:
        write_gguf(path, metadata, tensors)


def _tensors(config: ModelConfig, weights: ModelWeights) -> Iterator[GGUFTensor]:
    for name, value in named_weights(config, weights):
        if isinstance(value, TernaryMatrix):
            shape = (value.out_features, value.in_features)
            yield GGUFTensor(gguf_name(name), "TQ2_0", shape, partial(_tq2_0_parts, value))
        elif (array := as_array(value)).dtype == np.float32:
            yield GGUFTensor.of_rows(gguf_name(name), "F32", array)
        else:
            yield GGUFTensor.of_rows(gguf_name(name), "F16", array, _clipped_float16)


def _grouped_tensors(config: ModelConfig, weights: ModelWeights) -> Iterator[GGUFTensor]:
    for name, value in named_weights(config, weights):
        if isinstance(value, GroupedMatrix):
            shape = (value.out_features, value.in_features)
            yield GGUFTensor(gguf_name(name), "Q2_0", shape, partial(_q2_0_parts, value))
        elif not isinstance(value, TernaryMatrix):
            yield GGUFTensor.of_rows(gguf_name(name), "F32", as_array(value))


def _q2_0_parts(matrix: GroupedMatrix) -> Iterator[NDArray[np.uint8]]:
    """Yield blocks [rows, blocks, 18]: a scale, and 16 bytes of codes. Each block of our 128 becomes two of 64."""
    for rows in write_blocks(matrix):
        codes = rows[:, :, 2:].reshape(len(rows), -1, _Q2_0_BLOCK // 4)
        scales = np.repeat(rows[:, :, :2], matrix.group // _Q2_0_BLOCK, axis=1)
        yield np.concatenate([scales, codes], axis=2)


def _tq2_0_parts(matrix: TernaryMatrix) -> Iterator[NDArray[Any]]:
    codes = codes_to_tq2_0(unpack(matrix.packed).reshape(-1, TQ_BLOCK))
    scales = np.full((len(codes), 1), matrix.scale, np.float16).view(np.uint8)
    yield np.concatenate([codes, scales], axis=1)


def _clipped_float16(bits: NDArray[np.uint16]) -> NDArray[np.float16]:
    largest = np.finfo(np.float16).max
    return np.clip(bfloat16_to_float32(bits), -largest, largest).astype(np.float16)
