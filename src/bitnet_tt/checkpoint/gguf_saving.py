"""A model as an I2_S GGUF file, laid out as bitnet.cpp's own converter does, so that bitnet.cpp can run it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.assemble import named_weights
from bitnet_tt.checkpoint.families import FAMILIES, Family
from bitnet_tt.checkpoint.gguf_model import gguf_name, pair_rotary_rows
from bitnet_tt.checkpoint.packing import I2_S_BLOCK, packed_to_i2_s
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf import I2_S_TAIL_BYTES
from bitnet_tt.formats.staging import staged
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.formats.writing import GGUFTensor, write_gguf
from bitnet_tt.weights import ModelWeights, TernaryMatrix, bfloat16_to_float32

HEADER_BYTES = 1 << 25
"""A generous guess at the metadata, most of which is the tokenizer, for the disk-space check."""

_FILE_TYPE_I2_S = 40
_CHUNK_ROWS = 1024


def save_gguf(
    config: ModelConfig,
    weights: ModelWeights,
    target: Path,
    *,
    tokenizer: Path,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Write an I2_S GGUF file: linears I2_S, norms F32, embeddings F16 if that is exact and BF16 if not.

    Args:
        config: The architecture.
        weights: What to write.
        target: The .gguf file to be.
        tokenizer: The folder or .gguf file whose tokenizer goes into it.
        progress: Called with the bytes written and the bytes in all.
        overwrite: Replace an existing file.

    Raises:
        CheckpointError: The target exists or cannot be written, or GGUF has no way to hold such a model.
        TokenizerError: There is no tokenizer to put into it.
    """
    from bitnet_tt.tokenizer import load_tokenizer
    from bitnet_tt.tokenizer.gguf_saving import to_metadata

    if target.suffix != ".gguf":
        raise CheckpointError(f"{target} must end in .gguf, which is how such files are recognised")
    family = _family(config, target)
    tensors = list(_tensors(config, weights, family, target))
    metadata = model_metadata(config, family.gguf_architecture, target.stem, _FILE_TYPE_I2_S)
    metadata |= to_metadata(load_tokenizer(tokenizer), config.vocab_size)
    metadata |= _end_tokens(config)
    size = sum(tensor.size for tensor in tensors)
    with staged(target, size + HEADER_BYTES, overwrite=overwrite) as path:
        write_gguf(path, metadata, tensors, progress)


def model_metadata(config: ModelConfig, architecture: str, name: str, file_type: int) -> dict[str, Any]:
    """What a GGUF file says of a model, all but its tokenizer.

    Args:
        config: The model's shape.
        architecture: GGUF's name for its kind, which begins most keys.
        name: The model's own.
        file_type: How most weights are stored, as llama.cpp or bitnet.cpp number it (llama_ftype in their llama.h).
    """
    return {
        "general.architecture": architecture,
        "general.name": name,
        "general.file_type": file_type,
        "general.quantization_version": 2,
        f"{architecture}.vocab_size": config.vocab_size,
        f"{architecture}.context_length": config.max_position_embeddings,
        f"{architecture}.embedding_length": config.hidden_size,
        f"{architecture}.block_count": config.num_hidden_layers,
        f"{architecture}.feed_forward_length": config.intermediate_size,
        f"{architecture}.rope.dimension_count": config.head_dim,
        f"{architecture}.rope.freq_base": config.rope_theta,
        f"{architecture}.attention.head_count": config.num_attention_heads,
        f"{architecture}.attention.head_count_kv": config.num_key_value_heads,
        f"{architecture}.attention.key_length": config.head_dim,
        f"{architecture}.attention.value_length": config.head_dim,
        f"{architecture}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }


def _family(config: ModelConfig, target: Path) -> Family:
    for family in FAMILIES:
        same = family.hidden_act == config.hidden_act and (family.model_type == "bitnet") == config.sub_norms
        if same and not config.quantization.use_rms_norm:
            return family
    raise CheckpointError(
        f"{target}: no GGUF architecture has this model's mix of hidden_act ({config.hidden_act}), sub-norms "
        f"({config.sub_norms}) and norms in the linears ({config.quantization.use_rms_norm}); write packed safetensors"
    )


def _end_tokens(config: ModelConfig) -> dict[str, int]:
    """Ids that end a text as config.json names them; GGUF has room for two (end of sequence, end of turn)."""
    ids = zip(("eos", "eot"), config.eos_token_ids, strict=False)
    return {f"tokenizer.ggml.{name}_token_id": token_id for name, token_id in ids}


def _tensors(config: ModelConfig, weights: ModelWeights, family: Family, target: Path) -> Iterator[GGUFTensor]:
    for name, value in named_weights(config, weights):
        if isinstance(value, TernaryMatrix):
            if value.in_features % I2_S_BLOCK:
                raise CheckpointError(
                    f"{target} cannot be I2_S: {name} has {value.in_features} columns, which is not a multiple of "
                    f"{I2_S_BLOCK}; write packed safetensors instead"
                )
            heads = value.out_features // config.head_dim
            paired = family.gguf_rotary_pairs and name.endswith(("q_proj", "k_proj"))
            shape, size = (value.out_features, value.in_features), value.packed.size + I2_S_TAIL_BYTES
            parts = partial(_i2_s_parts, value, heads if paired else None)
            yield GGUFTensor(gguf_name(name), "I2_S", shape, size, parts)
        elif value.dtype == np.float32:
            yield GGUFTensor(gguf_name(name), "F32", value.shape, value.nbytes, partial(_row_parts, value))
        else:
            halves = _fits_float16(value)
            parts = partial(_float16_parts if halves else _row_parts, value)
            yield GGUFTensor(gguf_name(name), "F16" if halves else "BF16", value.shape, value.nbytes, parts)


def _i2_s_parts(matrix: TernaryMatrix, rotary_heads: int | None) -> Iterator[NDArray[Any]]:
    packed = matrix.packed if rotary_heads is None else pair_rotary_rows(matrix.packed, rotary_heads)
    yield packed_to_i2_s(packed)
    yield np.array([matrix.scale, *[0] * (I2_S_TAIL_BYTES // 4 - 1)], np.float32)


def _row_parts(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(values), _CHUNK_ROWS):
        yield values[start : start + _CHUNK_ROWS]


def _float16_parts(bits: NDArray[np.uint16]) -> Iterator[NDArray[Any]]:
    with np.errstate(over="ignore"):
        for rows in _row_parts(bits):
            yield bfloat16_to_float32(rows).astype(np.float16)


def _fits_float16(bits: NDArray[np.uint16]) -> bool:
    """Whether float16, which has more digits but less range than bfloat16, holds every value."""
    return all(
        np.array_equal(halves.astype(np.float32), bfloat16_to_float32(rows))
        for halves, rows in zip(_float16_parts(bits), _row_parts(bits), strict=True)
    )
