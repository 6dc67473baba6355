"""The model's configuration in the metadata of a GGUF file: read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitnet_tt.checkpoint import names
from bitnet_tt.checkpoint.families import Family, detect_gguf
from bitnet_tt.checkpoint.families.one_bit_llm import ONE_BIT_LLM
from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.checkpoint.pooling import LAST_POOLING, POOLING_KEY
from bitnet_tt.checks import is_int
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import ConfigError
from bitnet_tt.formats.gguf import GGUF
from bitnet_tt.rope_settings import LinearScaling, RopeScaling, YarnScaling, scaling_fields
from bitnet_tt.tokenizer.gguf_keys import CODE_END_KEYS, END_KEYS

GGUF_SETTINGS = "general.architecture and block_count in its metadata"
"""The settings that determine which tensors a file has, for error messages."""

_HIDDEN_ACT = "hidden_activation"
_FIRST_INPUT_NORM = names.input_norm_name(names.linear_path("q_proj"))

_FIELDS = {
    "hidden_act": _HIDDEN_ACT,
    "vocab_size": "vocab_size",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "rope_scaling.rope_type": "rope.scaling.type",
    "rope_scaling.factor": "rope.scaling.factor",
    "rope_scaling.original_max_position_embeddings": "rope.scaling.original_context_length",
    "rope_scaling.beta_fast": "rope.scaling.yarn_beta_fast",
    "rope_scaling.beta_slow": "rope.scaling.yarn_beta_slow",
}
"""GGUF's key of each field of config.json, after the architecture and a dot."""

_HARMLESS = (
    "rope.dimension_count",  # checked against the size of a head
    "attention.value_length",  # likewise
    "rope.scale_linear",  # read if rope.scaling.factor is missing, as llama.cpp does
    "rope.scaling.yarn_log_multiplier",  # only the architectures of DeepSeek read it
    "rope.scaling.finetuned",  # tells how the model was trained
    "attention.layer_norm_epsilon",  # for LayerNorm; these models have RMSNorm
    "tensor_data_layout",  # the layout of the original weights
)
"""Other keys of an architecture that change no result, whatever their value."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0.0,),
    "embedding_scale": (1.0, 0.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0.0,),
    "logit_scale": (1.0, 0.0),
    POOLING_KEY: (LAST_POOLING, 0),  # 0 is none
    "residual_scale": (1.0, 0.0),
    "rope.scaling.attn_factor": (1.0,),  # YaRN's own attention factor, which follows from its factor, is multiplied
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (1.0, -1.0),  # -1 stands for the default
    "use_parallel_residual": (False,),
}
"""Keys of an architecture that llama.cpp knows, and the values with which they change nothing."""


def detect_family(path: Path, metadata: Mapping[str, Any]) -> Family:
    """Recognise the family of a GGUF file by its architecture and its activation.

    Args:
        path: The file, for error messages.
        metadata: Its metadata.

    Raises:
        CheckpointError: No family matches.
    """
    architecture = metadata.get("general.architecture")
    return detect_gguf(str(path), architecture, metadata.get(f"{architecture}.{_HIDDEN_ACT}"))


def parse_gguf_config(path: Path, file: GGUF, family: Family) -> ModelConfig:
    """Check the settings in the metadata of a GGUF file.

    Args:
        path: The file, for error messages.
        file: Its contents.
        family: Its family, whose activation counts if the metadata give none.

    Raises:
        ConfigError: A setting cannot be used, or changes the result and is not supported; the message names the file
            and the key.
    """
    metadata = file.metadata
    architecture = metadata["general.architecture"]
    keys = _keys(file, architecture)
    data = {name: metadata.get(key) for name, key in keys.items() if "." not in name}
    if gguf_name(names.EMBEDDING) in file.tensors:
        data["vocab_size"] = file.tensors[gguf_name(names.EMBEDDING)].shape[0]
        keys["vocab_size"] = f"the number of rows of {gguf_name(names.EMBEDDING)}"
    data["hidden_act"] = family.hidden_act if data["hidden_act"] is None else data["hidden_act"]
    quantization: dict[str, Any] = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    if gguf_name(names.layer_prefix(0) + _FIRST_INPUT_NORM) in file.tensors:
        quantization |= {"use_rms_norm": True, "rms_norm_eps": data["rms_norm_eps"]}  # one for all norms
    data |= {
        "model_type": family.model_type,
        "tie_word_embeddings": gguf_name(names.LM_HEAD) not in file.tensors,
        "rope_scaling": _rope_scaling(metadata, keys),
        "quantization_config": quantization,
    }
    try:
        data["eos_token_id"] = _end_token_ids(metadata)
        _check_other_settings(metadata, architecture)
        if data["rms_norm_eps"] is None:  # the default of config.json is not one of GGUF
            raise ConfigError("rms_norm_eps is missing")
        config = ModelConfig.from_dict({name: value for name, value in data.items() if value is not None})
        for key in ("rope.dimension_count", "attention.value_length"):
            size = metadata.get(f"{architecture}.{key}", config.head_dim)
            if size != config.head_dim:
                raise ConfigError(
                    f"{architecture}.{key} is {size!r}, but only the size of a head ({config.head_dim}) is supported"
                )
    except ConfigError as error:
        raise ConfigError(f"{path}: {_with_keys(str(error), keys)}; use another file of this model") from error
    return config


def hidden_act_note(metadata: Mapping[str, Any]) -> list[str]:
    """Return a note if a GGUF file does not say which activation the model has, and its architecture has two."""
    key = f"{metadata['general.architecture']}.{_HIDDEN_ACT}"
    if metadata["general.architecture"] != ONE_BIT_LLM.gguf_architecture or key in metadata:
        return []
    return [
        f"the file has no {key}, so its activation is taken to be silu, as in {ONE_BIT_LLM.models}; if the model is "
        "another one, such as 2B4T, use a file that gives the key"
    ]


def _keys(file: GGUF, architecture: str) -> dict[str, str]:
    """Return the metadata key of each field of config.json that the file can give."""
    keys = {name: f"{architecture}.{key}" for name, key in _FIELDS.items()}
    if keys["rope_scaling.factor"] not in file.metadata and f"{architecture}.rope.scale_linear" in file.metadata:
        keys["rope_scaling.factor"] = f"{architecture}.rope.scale_linear"  # the name of the key in old files
    return keys | {"bos_token_id": "tokenizer.ggml.bos_token_id", "eos_token_id": END_KEYS[0]}


def _rope_scaling(metadata: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the `rope_scaling` that a file describes as llama.cpp reads it: linear by default, and 0 means 1."""
    given = {name: metadata.get(key) for name, key in keys.items() if name.startswith("rope_scaling.")}
    scaling = {name.removeprefix("rope_scaling."): value for name, value in given.items() if value is not None}
    if scaling.setdefault("rope_type", "linear") == "none":
        return None
    factor = scaling.get("factor", 0.0)
    return scaling | {"factor": 1.0 if factor == 0 else factor}


def _check_other_settings(metadata: Mapping[str, Any], architecture: str) -> None:
    """Refuse settings of the model that nothing reads, unless they are known to change nothing."""
    for key, value in metadata.items():
        if key.startswith("prism.hadamard."):
            raise ConfigError(f"{key} is not supported: activations would have to be transformed (Ternary-Bonsai-2)")
        setting = key.removeprefix(architecture + ".")
        if setting == key or setting in _FIELDS.values() or setting in _HARMLESS:
            continue
        if setting not in _NEUTRAL:
            raise ConfigError(f"{key} is not supported")
        if value not in _NEUTRAL[setting]:
            raise ConfigError(f"{key} is {value!r}, which is not supported; only {_NEUTRAL[setting][0]!r} is")


def _with_keys(message: str, keys: Mapping[str, str]) -> str:
    """Return an error message with the file's keys in place of the names of config.json."""
    found = "|".join(re.escape(name) for name in sorted(keys, key=len, reverse=True))
    return re.sub(rf"(?<![\w.])(?:{found})(?!\w)", lambda match: keys[match[0]], message)


def model_metadata(config: ModelConfig, architecture: str, name: str, file_type: int) -> dict[str, Any]:
    """Return the metadata that describe a model, without its tokenizer.

    Args:
        config: The model's configuration.
        architecture: Its `general.architecture`, which most keys begin with.
        name: The model's name.
        file_type: The number of the type of most weights (llama_ftype in llama.h of llama.cpp or bitnet.cpp).

    Raises:
        ConfigError: GGUF has no key for a setting.
    """
    scaling = {} if config.rope_scaling is None else _scaling_metadata(config.rope_scaling)
    return {
        "general.architecture": architecture,
        "general.name": name,
        "general.file_type": file_type,
        "general.quantization_version": 2,
        f"{architecture}.{_HIDDEN_ACT}": config.hidden_act,
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
        **{f"{architecture}.{_FIELDS[f'rope_scaling.{name}']}": value for name, value in scaling.items()},
    }


def _scaling_metadata(scaling: RopeScaling) -> dict[str, Any]:
    """Return the fields of `rope_scaling` that GGUF has keys for.

    Raises:
        ConfigError: GGUF has no key for this scaling.
    """
    fields = scaling_fields(scaling)
    if isinstance(scaling, YarnScaling):
        # Without these two fields, transformers computes what llama.cpp computes.
        plain = replace(scaling, attention_factor=0.1 * math.log(scaling.factor) + 1.0, truncate=True)
        if plain != scaling:
            raise ConfigError("GGUF has no keys for the attention_factor and truncate of these rotary positions")
        del fields["attention_factor"], fields["truncate"]
    elif not isinstance(scaling, LinearScaling):
        raise ConfigError(f"GGUF has no keys for {scaling.rope_type!r} rotary positions")
    return fields


def end_token_metadata(config: ModelConfig) -> dict[str, int]:
    """Return the metadata of the ids that end a text. GGUF has room for three."""
    return dict(zip(END_KEYS, config.eos_token_ids, strict=False))


def _end_token_ids(metadata: Mapping[str, Any]) -> list[int] | None:
    ends = {key: metadata[key] for key in (*END_KEYS, *CODE_END_KEYS) if key in metadata}
    for key, token_id in ends.items():
        if not is_int(token_id, 0):
            raise ConfigError(f"{key} must be a token id, not {token_id!r}")
    return list(ends.values()) or None
