"""Write a model as a Hugging Face folder of packed safetensors. Our reader uses its codes in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.config_files import write_config
from bitnet_tt.checkpoint.names import input_norm_name, named_weights
from bitnet_tt.checkpoint.pooling import Pooling, write_pooling
from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.safetensors import write_safetensors
from bitnet_tt.formats.staging import staged
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.weights import ModelWeights, TernaryMatrix, as_array

_SIDE_FILES_BYTES = 1 << 25
"""A generous estimate of the tokenizer and JSON files for the check of disk space: 32 MiB."""


def save_packed(
    config: ModelConfig,
    weights: ModelWeights,
    target: Path,
    *,
    tokenizer: Path | None = None,
    pooling: Pooling | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer.

    Args:
        config: The model's configuration.
        weights: Its weights. Packed codes are stored as they are, scales and norms as float32, embeddings as bfloat16.
        target: The folder to create.
        tokenizer: The folder or .gguf file whose tokenizer is copied; None to write no tokenizer.
        pooling: The pooling of an embedding model.
        progress: Called with the bytes written and the bytes in all.
        overwrite: Replace an existing checkpoint folder.

    Raises:
        CheckpointError: The target exists or cannot be written, or the weights have group scales.
        TokenizerError: The .gguf file has no usable tokenizer.
    """
    if config.quantization.group_size is not None:
        raise CheckpointError(
            f"{target} cannot be packed safetensors, which have one scale for each matrix: the weights have one for "
            f"each group of {config.quantization.group_size}; write GGUF (--to gguf-q2_0)"
        )
    tensors = dict(_named_arrays(config, weights))
    size = sum(array.nbytes for array in tensors.values())
    with staged(target, size + _SIDE_FILES_BYTES, overwrite=overwrite) as folder:
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", tensors, progress)
        write_config(folder, config)
        if pooling is not None:
            write_pooling(folder, config.hidden_size)
        if tokenizer is not None:
            copy_tokenizer(tokenizer, folder)


def _named_arrays(config: ModelConfig, weights: ModelWeights) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield every array of a packed checkpoint with its tensor name."""
    for name, value in named_weights(config, weights):
        if isinstance(value, TernaryMatrix):
            yield name + ".weight", value.packed
            yield name + ".weight_scale", np.array([value.scale], np.float32)
            if value.input_norm is not None:
                yield input_norm_name(name), value.input_norm
        else:
            yield name, as_array(value)
