"""The model's configuration in the metadata of a GGUF file: read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitnet_tt.checkpoint import names
from bitnet_tt.checkpoint.families import Family
from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.config import ModelConfig
from bitnet_tt.formats.gguf import GGUF

_END_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
"""GGUF has room for two ids that end a text: end of sequence and end of turn."""


def config_fields(file: GGUF, family: Family) -> dict[str, Any]:
    """Return the fields of a config.json, for `ModelConfig.from_dict` to check.

    A field that the file does not give is left out. `hidden_act` comes from the family, because GGUF has no field for
    it that all converters write.
    """
    metadata, tensors = file.metadata, file.tensors
    architecture = metadata["general.architecture"]

    def get(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    embedding = tensors.get(gguf_name(names.EMBEDDING))
    data = {
        "model_type": family.model_type,
        "hidden_act": family.hidden_act,
        "vocab_size": embedding.shape[0] if embedding is not None else get("vocab_size"),
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv"),
        "head_dim": get("attention.key_length"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "rope_theta": get("rope.freq_base"),
        "tie_word_embeddings": gguf_name(names.LM_HEAD) not in tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": _end_token_ids(metadata),
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
    }
    scaling = get("rope.scaling.type")
    if scaling not in (None, "none"):
        data["rope_scaling"] = {"rope_type": scaling}
    return {name: value for name, value in data.items() if value is not None}


def model_metadata(config: ModelConfig, architecture: str, name: str, file_type: int) -> dict[str, Any]:
    """Return the metadata that describe a model, without its tokenizer.

    Args:
        config: The model's configuration.
        architecture: Its `general.architecture`, which most keys begin with.
        name: The model's name.
        file_type: The number of the type of most weights (llama_ftype in llama.h of llama.cpp or bitnet.cpp).
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


def end_token_metadata(config: ModelConfig) -> dict[str, int]:
    """Return the metadata of the first two ids that end a text."""
    return dict(zip(_END_KEYS, config.eos_token_ids, strict=False))


def _end_token_ids(metadata: Mapping[str, Any]) -> list[Any] | None:
    return [metadata[key] for key in _END_KEYS if key in metadata] or None
