"""Write a model as a GGUF file: I2_S in the layout of bitnet.cpp's own converter, or Q2_0 for group scales.

bitnet.cpp can run the former, llama.cpp (blocks of 64) or Prism ML's fork of it (blocks of 128) the latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.families import FAMILIES, Family
from bitnet_tt.checkpoint.gguf_config import end_token_metadata, model_metadata
from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.checkpoint.grouped import write_blocks
from bitnet_tt.checkpoint.names import input_norm_name, named_weights
from bitnet_tt.checkpoint.packing import I2_S_BLOCK, packed_to_i2_s, pair_rotary_rows
from bitnet_tt.checkpoint.pooling import LAST_POOLING, POOLING_KEY, Pooling
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.formats.gguf import I2_S_TAIL_BYTES, GGUFTensor, is_gguf_name, write_gguf
from bitnet_tt.formats.staging import staged
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.weights import GroupedMatrix, ModelWeights, TernaryMatrix, bfloat16_to_float32

_HEADER_BYTES = 1 << 25
"""A generous estimate of the metadata for the check of disk space: 32 MiB, most of it the tokenizer."""

_FILE_TYPES = {"I2_S": 40, "Q2_0": 41, "PQ2_0": 141}
"""The number of each type for `general.file_type`: that of bitnet.cpp, of llama.cpp, and of Prism ML's fork."""
_CHUNK_ROWS = 1024
_INSTEAD = "write packed safetensors instead"


def save_gguf(
    config: ModelConfig,
    weights: ModelWeights,
    target: Path,
    *,
    tokenizer_metadata: Mapping[str, Any],
    pooling: Pooling | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Write a GGUF file with I2_S linears, or PQ2_0 or Q2_0 ones if they have group scales.

    Norms are F32. Embeddings that are not ternary are F16 if that is exact, BF16 otherwise.

    Args:
        config: The model's configuration.
        weights: Its weights.
        target: The .gguf file to create.
        tokenizer_metadata: The `tokenizer.*` metadata (see `tokenizer.gguf_saving`).
        pooling: The pooling of an embedding model.
        progress: Called with the bytes written and the bytes in all.
        overwrite: Replace an existing file.

    Raises:
        CheckpointError: The target exists, cannot be written or does not end in .gguf, or GGUF cannot hold the model.
    """
    if not is_gguf_name(target):
        raise CheckpointError(f"{target} must end in .gguf, by which GGUF files are recognised; choose another name")
    family = _family(config, target)
    tensors = list(_tensors(config, weights, family, target))
    try:
        metadata = model_metadata(config, str(family.gguf_architecture), target.stem, _FILE_TYPES[_linear_type(config)])
    except ConfigError as error:
        instead = "" if config.quantization.group_size else f"; {_INSTEAD}"
        raise CheckpointError(f"{target} cannot be GGUF: {error}{instead}") from error
    if pooling is not None:
        metadata[f"{family.gguf_architecture}.{POOLING_KEY}"] = LAST_POOLING
    metadata |= tokenizer_metadata
    metadata |= end_token_metadata(config)  # config.json overrides the tokenizer
    size = sum(tensor.size for tensor in tensors)
    with staged(target, size + _HEADER_BYTES, overwrite=overwrite) as path:
        write_gguf(path, metadata, tensors, progress)


def _family(config: ModelConfig, target: Path) -> Family:
    """Return the family whose GGUF architecture computes what the configuration says."""
    quantization = config.quantization
    for family in FAMILIES:
        same = family.hidden_act == config.hidden_act and family.model_type == config.architecture
        if same and family.gguf_architecture and (family.gguf_input_norms or not quantization.use_rms_norm):
            break
    else:
        raise CheckpointError(
            f"{target} cannot be GGUF: no GGUF architecture combines hidden_act {config.hidden_act}, sub_norms "
            f"{config.sub_norms} and use_rms_norm {quantization.use_rms_norm}; {_INSTEAD}"
        )
    if quantization.use_rms_norm and quantization.rms_norm_eps != config.rms_norm_eps:
        raise CheckpointError(
            f"{target} cannot be GGUF, which has one epsilon for all norms: rms_norm_eps is {config.rms_norm_eps}, and "
            f"{quantization.rms_norm_eps} in quantization_config; {_INSTEAD}"
        )
    return family


def _tensors(config: ModelConfig, weights: ModelWeights, family: Family, target: Path) -> Iterator[GGUFTensor]:
    for name, value in named_weights(config, weights):
        if isinstance(value, GroupedMatrix):
            shape = (value.out_features, value.in_features)
            yield GGUFTensor(gguf_name(name), _linear_type(config), shape, partial(write_blocks, value))
            if value.input_norm is not None:
                yield GGUFTensor.of_rows(gguf_name(input_norm_name(name)), "F32", value.input_norm)
        elif isinstance(value, TernaryMatrix):
            if value.in_features % I2_S_BLOCK:
                raise CheckpointError(
                    f"{target} cannot be I2_S: {name} has {value.in_features} columns, which is not a multiple of "
                    f"{I2_S_BLOCK}; {_INSTEAD}"
                )
            paired = family.gguf_rotary_pairs and name.endswith(("q_proj", "k_proj"))
            heads = value.out_features // config.head_dim if paired else None
            shape = (value.out_features, value.in_features)
            yield GGUFTensor(gguf_name(name), "I2_S", shape, partial(_i2_s_parts, value, heads))
            if value.input_norm is not None:
                yield GGUFTensor.of_rows(gguf_name(input_norm_name(name)), "F32", value.input_norm)
        elif value.dtype == np.float32:
            yield GGUFTensor.of_rows(gguf_name(name), "F32", value)
        elif _fits_float16(value):
            yield GGUFTensor.of_rows(gguf_name(name), "F16", value, _bfloat16_to_float16)
        else:
            yield GGUFTensor.of_rows(gguf_name(name), "BF16", value)


def _linear_type(config: ModelConfig) -> str:
    """Return the GGUF type of the linears."""
    group = config.quantization.group_size
    return "I2_S" if group is None else {64: "Q2_0", 128: "PQ2_0"}[group]


def _i2_s_parts(matrix: TernaryMatrix, rotary_heads: int | None) -> Iterator[NDArray[Any]]:
    """Yield the codes of an I2_S tensor and its padded scale.

    Args:
        matrix: The matrix.
        rotary_heads: The number of heads if the file stores the rows in rotary pairs, None otherwise.
    """
    packed = matrix.packed if rotary_heads is None else pair_rotary_rows(matrix.packed, rotary_heads)
    yield packed_to_i2_s(packed)
    yield np.array([matrix.scale, *[0] * (I2_S_TAIL_BYTES // 4 - 1)], np.float32)


def _fits_float16(bits: NDArray[np.uint16]) -> bool:
    """Whether float16 holds every value exactly. It has more mantissa bits than bfloat16, but a smaller range."""
    chunks = (bits[start : start + _CHUNK_ROWS] for start in range(0, len(bits), _CHUNK_ROWS))
    return all(
        np.array_equal(_bfloat16_to_float16(rows).astype(np.float32), bfloat16_to_float32(rows)) for rows in chunks
    )


def _bfloat16_to_float16(bits: NDArray[np.uint16]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        return bfloat16_to_float32(bits).astype(np.float16)
