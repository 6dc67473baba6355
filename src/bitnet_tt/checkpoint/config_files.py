"""Read and write config.json and generation_config.json of a Hugging Face folder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitnet_tt.checkpoint import names
from bitnet_tt.checkpoint.config_keys import check_config_keys, check_generation_keys
from bitnet_tt.config import ModelConfig, QuantizationMode
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.rope_settings import scaling_fields

CONFIG_SETTINGS = "num_hidden_layers, tie_word_embeddings and model_type in config.json"
"""The settings that determine which tensors a checkpoint has, for error messages."""

_CLASSES = {"bitnet": "BitNetForCausalLM", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""The class of transformers for each architecture."""

_MODULE_NAME = re.compile(r"[\w.-]+")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the fields of config.json. `eos_token_id` also gets the ids of generation_config.json.

    Raises:
        CheckpointError: The folder has no config.json.
        ConfigError: One of the files is not a JSON object, or generation_config.json forces or bans tokens.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json; check the path, and that the download is complete")
    data = read_json(path, dict)
    generation_path = folder / "generation_config.json"
    if generation_path.is_file():
        generation = read_json(generation_path, dict)
        check_generation_keys(generation_path, generation)
        more = _as_list(generation.get("eos_token_id"))
        data["eos_token_id"] = _as_list(data.get("eos_token_id")) + more or None
    return data


def parse_config(path: Path, data: Mapping[str, Any]) -> ModelConfig:
    """Check the fields of a config.json.

    Args:
        path: The file that they come from, for error messages.
        data: The fields.

    Raises:
        ConfigError: A field cannot be used, or might change the result and is not supported; the message names the
            file and the field.
    """
    try:
        config = ModelConfig.from_dict(data)
        check_config_keys(data, config)
        _check_not_converted(config, data)
        return config
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _check_not_converted(config: ModelConfig, data: Mapping[str, Any]) -> None:
    """Refuse `modules_to_not_convert` that names a linear of a layer, because every one of them is ternary here.

    As in transformers, an entry matches the modules whose paths begin or end with it. Older versions also matched
    entries inside a path, so any part of a path counts.
    """
    field = "quantization_config.modules_to_not_convert"
    entries = (data.get("quantization_config") or {}).get("modules_to_not_convert")
    if entries is None:
        return
    if not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
        raise ConfigError(f"{field} must be a list of module names, not {entries!r}")
    for entry in entries:
        if not _MODULE_NAME.fullmatch(entry):
            raise ConfigError(f"{field} has the entry {entry!r}; only module names such as lm_head are supported")
        # An entry without a layer's number matches in layer 0, or nowhere.
        layers = (0, *(int(number) for number in re.findall(r"[0-9]{1,8}", entry)))
        linears = (
            names.layer_prefix(layer) + names.linear_path(linear)
            for layer in layers
            if layer < config.num_hidden_layers
            for linear in config.linear_shapes
        )
        dense = next((linear for linear in linears if entry in linear), None)
        if dense is not None:
            raise ConfigError(
                f"{field} has the entry {entry!r}, by which {dense} is not ternary; only models in which every linear "
                "of a layer is ternary are supported, so use another checkpoint of this model"
            )


def write_config(folder: Path, config: ModelConfig, mode: QuantizationMode = "offline") -> None:
    """Write both files for a checkpoint of packed weights (`offline`) or of master weights (`online`)."""
    eos = list(config.eos_token_ids)
    _write_json(folder / "config.json", _config_fields(config, mode))
    _write_json(folder / "generation_config.json", {"bos_token_id": config.bos_token_id, "eos_token_id": eos})


def _config_fields(config: ModelConfig, mode: QuantizationMode) -> dict[str, Any]:
    fields = dataclasses.asdict(config)
    for name in ("sub_norms", "qk_norms", "eos_token_ids", "quantization", "rope_scaling"):
        del fields[name]
    if config.rope_scaling is not None:
        fields["rope_scaling"] = scaling_fields(config.rope_scaling)
    return {
        "architectures": [_CLASSES[config.architecture]],
        **fields,
        "model_type": config.architecture,
        "eos_token_id": list(config.eos_token_ids),
        "attention_bias": False,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "modules_to_not_convert": ["lm_head"],
            "linear_class": "autobitlinear",
            "quantization_mode": mode,
            "use_rms_norm": config.quantization.use_rms_norm,
            "rms_norm_eps": config.quantization.rms_norm_eps,
        },
    }


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def read_json[T](path: Path, kind: type[T]) -> T:
    """Read a JSON file of a checkpoint.

    Args:
        path: The file.
        kind: What it must hold: `dict` or `list`.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}; download it again") from error
    if not isinstance(data, kind):
        raise ConfigError(f"{path} must hold a JSON {'array' if kind is list else 'object'}; download it again")
    return data


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
