"""Every key of config.json and generation_config.json: is it used, harmless, neutral at some values, or unknown?

A key that is neither used nor known here might change the result. So it is refused by name, unless its value is null,
false or empty, which switch a thing off. Keys that begin with `_` are private bookkeeping of libraries.

generation_config.json cannot change logits. Its sampling settings and lengths are what the author recommends for chats.
BitNet-TT's documented default is greedy, and users choose for themselves, so they are harmless here. Settings that
force or ban tokens, or that search for another text, are different: an author who sets them says that text without them
is wrong. BitNet-TT does not have them, so they are refused. To run the model all the same, users delete the key. Old
config.json files hold these settings too, so both files share the tables.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bitnet_tt.checks import is_int
from bitnet_tt.config import ModelConfig, QuantizationConfig
from bitnet_tt.errors import ConfigError

_DERIVED = ("sub_norms", "qk_norms", "eos_token_ids", "quantization")
CONFIG_USED = (
    *(field.name for field in fields(ModelConfig) if field.name not in _DERIVED),
    *("eos_token_id", "quantization_config", "rope_parameters"),
    *("partial_rotary_factor", "attention_bias", "mlp_bias", "input_bits"),  # only one value of each is supported
)
"""Keys of config.json that `ModelConfig.from_dict` reads."""

_FROM_WEIGHTS = ("group_size", "ternary_embedding", "ternary_head")
"""Fields of `QuantizationConfig` that the reader finds in the weights, and never in config.json."""

QUANTIZATION_USED = (
    *(field.name for field in fields(QuantizationConfig) if field.name not in _FROM_WEIGHTS),
    "quant_method",
    "modules_to_not_convert",
)
"""Keys of quantization_config that are read."""

GENERATION_HARMLESS: Mapping[str, tuple[str, ...]] = {
    "recommended sampling; users choose their own": (
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
        *("repetition_penalty", "renormalize_logits", "remove_invalid_values"),
    ),
    "recommended lengths; users choose their own": ("max_length", "max_new_tokens", "max_time"),
    "beam search only, which num_beams = 1 switches off": ("early_stopping", "length_penalty", "num_return_sequences"),
    "what transformers returns besides the text": (
        *("output_attentions", "output_hidden_states", "output_logits", "output_scores", "return_dict_in_generate"),
        "return_legacy_cache",
    ),
    "speed and memory of transformers": (
        *("use_cache", "cache_implementation", "cache_config", "prefill_chunk_size", "low_memory"),
        *("compile_config", "disable_compile", "continuous_batching_config"),
    ),
    "speculative decoding, which keeps the text": (
        *("is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
        *("assistant_early_exit", "assistant_lookbehind", "target_lookbehind"),
        *("prompt_lookup_num_tokens", "max_matching_ngram_size"),
    ),
    "ids for padding, for other kinds of models, or that the tokenizer's own files give": (
        *("pad_token_id", "bos_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id"),
        *("decoder_start_token_id", "user_token_id", "assistant_token_id"),
    ),
    "chat programs; the chat template counts": ("chat_format", "max_window_size"),
    "bookkeeping": ("transformers_version", "trust_remote_code"),
}
"""Keys of generation_config.json that change no result here, whatever their value, by the reason."""

GENERATION_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("bad_words_ids", "force_words_ids", "constraints", "sequence_bias", "stop_strings"), ([],)),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens", "forced_decoder_ids"), ([],)),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty"), (None,)),
    **dict.fromkeys(("min_length", "min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("diversity_penalty", "penalty_alpha"), (0,)),
    **dict.fromkeys(("num_beams", "num_beam_groups", "encoder_repetition_penalty", "guidance_scale"), (1,)),
    **dict.fromkeys(("dola_layers", "watermarking_config"), (None,)),
    "token_healing": (False,),
}
"""Keys of generation_config.json that force, ban or score tokens, and the values with which they do not."""

CONFIG_HARMLESS: Mapping[str, tuple[str, ...]] = {
    "names and versions": (
        *("architectures", "auto_map", "custom_pipelines", "name_or_path", "model_name", "base_model", "license"),
        *("is_bitnet_config", "is_llama_config", "tokenizer_class"),
    ),
    "types of the stored weights, which the tensors give themselves": ("torch_dtype", "dtype", "use_bfloat16"),
    "training": (
        *("initializer_range", "initializer_factor", "gradient_checkpointing", "z_loss_weight"),
        *("attention_dropout", "hidden_dropout", "resid_dropout", "embd_dropout", "dropout", "classifier_dropout"),
        *("attn_pdrop", "resid_pdrop", "embd_pdrop", "attention_probs_dropout_prob", "hidden_dropout_prob"),
        "pretraining_tp",  # the number of slices of a sum; transformers 5 ignores it
        *("router_aux_loss_coef", "output_router_logits"),  # mixtures of experts, which num_experts refuses
    ),
    "what transformers returns, and how it computes": (
        *("return_dict", "use_return_dict", "torchscript", "chunk_size_feed_forward", "attn_implementation"),
        *("attention_softmax_in_fp32", "use_flash_attn", "use_flash_attention_2", "keys_to_ignore_at_inference"),
        "is_decoder",  # both architectures are decoders in any case
    ),
    "heads for other tasks": (
        *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"),
        *("summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"),
    ),
    "the tokenizer's own files give these": ("bos_token", "eos_token", "pad_token", "unk_token", "model_max_length"),
    "read only by what is switched off": (
        "max_window_layers",  # sliding windows
        *("num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step"),  # experts
        "original_max_position_embeddings",  # scaled rotary positions; checked where they read it
        "multiple_of",  # a rule for intermediate_size, which is given
        *("max_sequence_length", "seq_length", "max_seq_len"),  # lengths of training; max_position_embeddings counts
    ),
    "hidden states of a cross attention that these models do not have": ("cross_attention_hidden_size",),
}
"""Keys of config.json that change no result, whatever their value, by the reason."""

HARMLESS_PREFIXES = ("_", "unsloth_", "transformers.js_config", "transformers_js_")
"""Beginnings of keys that only libraries and converters read."""

CONFIG_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("is_causal", "causal", "use_rope", "use_rotary", "gated_mlp", "scale_attn_weights"), (True,)),
    **dict.fromkeys(("scale_embeddings", "scale_embedding", "rope_interleaved", "rotary_interleaved"), (False,)),
    **dict.fromkeys(("sliding_window", "attention_window_size", "clip_qkv"), (None, 0)),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "logit_softcapping"), (0,)),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), (0, 1)),
    **dict.fromkeys(("num_shared_experts", "n_shared_experts"), (0,)),
    **dict.fromkeys(("rope_ratio", "rotary_pct", "rope_scaling_factor"), (1,)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"), (1,)),
    **dict.fromkeys(("scale_emb", "lm_head_multiplier", "key_multiplier", "output_multiplier"), (1,)),
    **dict.fromkeys(("attention_in_multiplier", "attention_out_multiplier", "embedding_scale", "residual_scale"), (1,)),
    "mlp_multipliers": ([1, 1],),
    "weight_bits": (1, 1.58, 2),  # 1bitLLM writes 1 for ternary weights
    "activation_bits": (8,),
}
"""Keys of config.json that other architectures read, and the values with which they change nothing."""

CONFIG_SAME: Mapping[str, str] = {
    **dict.fromkeys(("hidden_activation", "activation_function", "activation", "mlp_activation"), "hidden_act"),
    **dict.fromkeys(("norm_eps", "layer_norm_eps", "layer_norm_epsilon"), "rms_norm_eps"),
    **dict.fromkeys(("v_head_dim", "kv_channels", "qk_head_dim", "rotary_dim", "query_pre_attn_scalar"), "head_dim"),
}
"""Keys of config.json that repeat a setting under another name, and the field of `ModelConfig` with their value."""

_GATED = {"swiglu": "silu", "swish": "silu", "reglu2": "relu2"}
"""Other names of activations; the MLP of every model here is gated."""

QUANTIZATION_HARMLESS = ("torch_dtype", "dtype", "use_kernels")
QUANTIZATION_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("bits", "weight_bits", "num_bits"), (1, 1.58, 2)),
    **dict.fromkeys(("activation_bits", "input_bits"), (8,)),
    "group_size": (-1, 0),
}
"""Keys of quantization_config, as above."""


def check_config_keys(data: Mapping[str, Any], config: ModelConfig) -> None:
    """Refuse the keys of a config.json that might change the result and are not used.

    Args:
        data: Its fields.
        config: The configuration that was read from them.

    Raises:
        ConfigError: There is such a key; the message names it and says what to do.
    """
    for key, field in CONFIG_SAME.items():
        _check_same(key, data.get(key), field, config)
    rest = {key: value for key, value in data.items() if not _has_no_effect(key, value, data, config)}
    harmless = (*CONFIG_SAME, *_flat(GENERATION_HARMLESS), *_flat(CONFIG_HARMLESS))
    _check("config.json", rest, (*CONFIG_USED, *harmless), {**GENERATION_NEUTRAL, **CONFIG_NEUTRAL})
    quantization = data.get("quantization_config") or {}
    accepted = (*QUANTIZATION_USED, *QUANTIZATION_HARMLESS)
    _check("config.json", quantization, accepted, QUANTIZATION_NEUTRAL, where="quantization_config.")


def check_generation_keys(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse the keys of a generation_config.json that force or ban tokens, and unknown ones.

    Args:
        path: The file, for error messages.
        data: Its fields.

    Raises:
        ConfigError: There is such a key; the message names the file and the key and says what to do.
    """
    try:
        _check(path.name, data, ("eos_token_id", *_flat(GENERATION_HARMLESS)), GENERATION_NEUTRAL)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _check(
    file: str,
    data: Mapping[str, Any],
    accepted: Collection[str],
    neutral: Mapping[str, tuple[Any, ...]],
    where: str = "",
) -> None:
    """Refuse a key that is neither accepted nor neutral.

    Args:
        file: The name of the file, for error messages.
        data: Its keys and their values.
        accepted: Keys that may have any value.
        neutral: The values that other known keys may have.
        where: What stands before a key in error messages.
    """
    for key, value in data.items():
        if value is None or key in accepted or key.startswith(HARMLESS_PREFIXES):
            continue
        if key in neutral:
            if any(_same(value, one) for one in neutral[key]) or ([] in neutral[key] and not value):
                continue
            expected = " or ".join(repr(one) if one is not None else "null" for one in neutral[key])
            raise ConfigError(
                f"{where}{key} is {reprlib.repr(value)}, which is not supported; only {expected} is. To run the model "
                f"without this setting, delete it from {file}"
            )
        if not _is_off(value):
            raise ConfigError(
                f"{where}{key} is {reprlib.repr(value)}. This setting is not supported and might change the result; "
                f"if the model does not need it, delete it from {file}"
            )


def _check_same(key: str, value: object, field: str, config: ModelConfig) -> None:
    """Refuse a key that repeats a field of the configuration with another value."""
    expected = getattr(config, field)
    known = _GATED.get(value, value) if isinstance(value, str) else value
    if value is not None and not _same(known, expected):
        raise ConfigError(
            f"{key} is {reprlib.repr(value)}, but {field} is {expected!r}; delete the wrong one from config.json"
        )


def _has_no_effect(key: str, value: object, data: Mapping[str, Any], config: ModelConfig) -> bool:
    """Return whether a key of config.json changes nothing because of another one or of the model's sizes."""
    if key == "layer_types":
        return isinstance(value, list) and all(one in ("full_attention", "attention") for one in value)
    if key == "sliding_window":
        return data.get("use_sliding_window") is False or is_int(value, config.max_position_embeddings)
    return key == "attention_multiplier" and _same(value, config.head_dim**-0.5)


def _same(value: object, other: object) -> bool:
    """Return whether two values of JSON are equal; true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _is_off(value: object) -> bool:
    return value is False or value in ("", [], {})


def _flat(groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(key for keys in groups.values() for key in keys)
