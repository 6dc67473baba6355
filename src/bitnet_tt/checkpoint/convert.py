"""Checkpoints written anew: packed safetensors, which we read in place, or I2_S GGUF, which bitnet.cpp reads."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.assemble import named_weights
from bitnet_tt.checkpoint.gguf_saving import save_gguf
from bitnet_tt.checkpoint.reader import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.formats.staging import check_target, staged
from bitnet_tt.formats.tensor import Progress
from bitnet_tt.formats.writing import write_safetensors
from bitnet_tt.weights import ModelWeights, TernaryMatrix

Format = Literal["packed", "gguf-i2s"]

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_SIDE_FILES_BYTES = 1 << 25


def convert(
    source: Path, target: Path, to: Format, progress: Progress | None = None, *, overwrite: bool = False
) -> list[str]:
    """Read a checkpoint of any supported kind, check it, and write it in another format, with its tokenizer.

    Codes and scales are carried over bit for bit. The target appears whole or not at all.

    Args:
        source: A folder or .gguf file, as `resolve` gives it.
        target: The folder (`packed`) or .gguf file (`gguf-i2s`) to write.
        to: The format.
        progress: Called with (done, total); reading is the first half and writing the second.
        overwrite: Replace an existing target.

    Returns:
        Facts for the user, such as an embedding that had to be rounded.

    Raises:
        CheckpointError: The source is damaged, the target exists or cannot be written, or the format cannot hold it.
        TokenizerError: GGUF is to be written and the source has no tokenizer to put into it.
    """
    check_target(target, overwrite=overwrite)
    checkpoint = Checkpoint.open(source)
    total = sum(file.size for file in checkpoint.files)

    def reading(done: int, of: int) -> None:
        if progress is not None:
            progress(total * done // (2 * of), total)

    def writing(done: int, of: int) -> None:
        if progress is not None:
            progress((total + total * done // of) // 2, total)

    config, weights = checkpoint.config, checkpoint.load_weights(reading)
    save = save_packed if to == "packed" else save_gguf
    save(config, weights, target, tokenizer=source, progress=writing, overwrite=overwrite)
    return checkpoint.notes


def save_packed(
    config: ModelConfig,
    weights: ModelWeights,
    target: Path,
    *,
    tokenizer: Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Write a Hugging Face folder: config.json, generation_config.json, model.safetensors and the tokenizer.

    Args:
        config: The architecture.
        weights: What to write; packed codes as they are, scales and norms as float32, embeddings as bfloat16.
        target: The folder to be.
        tokenizer: The folder or .gguf file whose tokenizer goes with it.
        progress: Called with the bytes written and the bytes in all.
        overwrite: Replace an existing checkpoint folder.

    Raises:
        CheckpointError: The target exists or cannot be written.
        TokenizerError: The .gguf file has no usable tokenizer.
    """
    tensors = dict(_named_arrays(config, weights))
    size = sum(array.nbytes for array in tensors.values())
    with staged(target, size + _SIDE_FILES_BYTES, overwrite=overwrite) as folder:
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", tensors, progress)
        _write_json(folder / "config.json", _config_json(config))
        eos = list(config.eos_token_ids)
        _write_json(folder / "generation_config.json", {"bos_token_id": config.bos_token_id, "eos_token_id": eos})
        if tokenizer is not None:
            _save_tokenizer(tokenizer, folder)


def _named_arrays(config: ModelConfig, weights: ModelWeights) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array of a packed checkpoint by its Hugging Face name."""
    for name, value in named_weights(config, weights):
        if isinstance(value, TernaryMatrix):
            yield name + ".weight", value.packed
            yield name + ".weight_scale", np.array([value.scale], np.float32)
            if value.input_norm is not None:
                yield name + ".rms_norm.weight", value.input_norm
        else:
            yield name, value


def _config_json(config: ModelConfig) -> dict[str, Any]:
    model_type = "bitnet" if config.sub_norms else "llama"
    fields = dataclasses.asdict(config)
    for name in ("sub_norms", "eos_token_ids", "quantization"):
        del fields[name]
    return {
        "architectures": ["BitNetForCausalLM" if config.sub_norms else "LlamaForCausalLM"],
        **fields,
        "model_type": model_type,
        "eos_token_id": list(config.eos_token_ids),
        "attention_bias": False,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "modules_to_not_convert": ["lm_head"],
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
            "use_rms_norm": config.quantization.use_rms_norm,
            "rms_norm_eps": config.quantization.rms_norm_eps,
        },
    }


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _save_tokenizer(source: Path, folder: Path) -> None:
    if source.is_dir():
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        return
    from bitnet_tt.tokenizer import load_tokenizer

    load_tokenizer(source).save(folder)
