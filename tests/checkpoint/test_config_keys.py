"""Every key of config.json and generation_config.json is used, harmless, neutral at some values, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.checkpoint import Checkpoint, config_keys
from bitnet_tt.checkpoint.config_files import parse_config
from bitnet_tt.errors import ConfigError
from tests.checkpoint import small
from tests.test_config import json_values

PATH = Path("config.json")
GENERATION_PATH = Path("generation_config.json")
PLAIN = parse_config(PATH, small.config())


def flat(table: Any) -> list[str]:
    return [key for keys in table.values() for key in keys]


def error_of(data: dict[str, Any]) -> str | None:
    try:
        parse_config(PATH, data)
    except ConfigError as error:
        return str(error)
    return None


GENERATION_HARMLESS = flat(config_keys.GENERATION_HARMLESS)
HARMLESS = flat(config_keys.CONFIG_HARMLESS) + [
    key for key in GENERATION_HARMLESS if key not in config_keys.CONFIG_USED
]
NEUTRAL = {**config_keys.CONFIG_NEUTRAL, **config_keys.GENERATION_NEUTRAL}
KNOWN = {*config_keys.CONFIG_USED, *HARMLESS, *NEUTRAL, *config_keys.CONFIG_SAME}
SPECIAL = {"layer_types", "sliding_window", "attention_multiplier"}
QUANTIZATION = {*config_keys.QUANTIZATION_USED, *config_keys.QUANTIZATION_HARMLESS, *config_keys.QUANTIZATION_NEUTRAL}

TRANSFORMERS_4 = {
    "_name_or_path": "somewhere", "add_cross_attention": False, "architectures": ["LlamaForCausalLM"],
    "attention_bias": False, "attention_dropout": 0.1, "bad_words_ids": None, "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None, "decoder_start_token_id": None,
    "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None, "finetuning_task": None, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "is_decoder": False,
    "is_encoder_decoder": False, "label2id": {"LABEL_0": 0}, "length_penalty": 1.0, "max_length": 20, "min_length": 0,
    "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False, "pad_token_id": 2,
    "prefix": None, "pretraining_tp": 1, "problem_type": None, "pruned_heads": {}, "remove_invalid_values": False,
    "repetition_penalty": 1.0, "return_dict": True, "return_dict_in_generate": False, "rope_scaling": None,
    "sep_token_id": None, "suppress_tokens": None, "task_specific_params": None, "temperature": 1.0,
    "tf_legacy_loss": False, "tie_encoder_decoder": False, "tokenizer_class": None, "top_k": 50, "top_p": 1.0,
    "torch_dtype": "bfloat16", "torchscript": False, "transformers_version": "4.44.0", "typical_p": 1.0,
    "use_bfloat16": False, "use_cache": True,
}  # fmt: skip
"""All that transformers 4 can write for a Llama."""


@pytest.mark.parametrize(
    "changes",
    [
        {"initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16"},  # 2B4T
        {"activation": "swiglu", "hidden_act": "silu", "parallel_attn": False, "is_bitnet_config": True},  # Falcon3
        {"rope_interleaved": False, "mlp_bias": False, "pretraining_tp": 1},  # HF1BitLLM
        {"weight_bits": 1, "input_bits": 8, "quant_bits": None},  # 1bitLLM
        {"dtype": "bfloat16", "use_cache": False, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"layer_types": ["full_attention"] * small.LAYERS, "max_window_layers": 2, "use_sliding_window": False},
        {"sliding_window": 131072, "use_sliding_window": False},
        {"sliding_window": 4096},  # not shorter than the context
        {"unsloth_fixed": True, "unsloth_version": "2026.3", "transformers.js_config": {"dtype": "q4"}},
        {"attention_multiplier": small.HEAD_DIM**-0.5, "embedding_multiplier": 1.0, "logits_scaling": 1},
        {"query_pre_attn_scalar": small.HEAD_DIM, "attn_logit_softcapping": None, "final_logit_softcapping": 0.0},
        {"new_in_2027": None, "also_new": False, "empty": [], "nothing": {}, "no_text": ""},
        TRANSFORMERS_4,
    ],
)
def test_files_of_this_kind_load(changes: dict[str, Any]) -> None:
    base = {name: value for name, value in changes.items() if name in ("hidden_act",)}
    assert parse_config(PATH, small.config(**changes)) == parse_config(PATH, small.config(**base))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual_multiplier": 0.22}, "residual_multiplier is 0.22, which is not supported; only 1 is"),
        ({"attention_multiplier": 1.0}, "attention_multiplier is 1.0"),
        ({"clip_qkv": 8.0}, "clip_qkv is 8.0"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ({"is_causal": False}, "is_causal is False"),
        ({"qk_norm": True}, "qk_norm is True. This setting is not supported and might change the result"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"sliding_window": 64}, "sliding_window is 64"),
        ({"sliding_window": 64, "use_sliding_window": True}, "sliding_window is 64"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types is"),
        ({"num_experts": 8}, "num_experts is 8"),
        ({"rope_interleaved": True}, "rope_interleaved is True"),
        ({"weight_bits": 2, "quant_bits": 2}, "quant_bits is 2"),
        ({"packed": True}, "packed is True"),
        ({"quantization": {"bits": 4}}, "quantization is {'bits': 4}"),
        ({"activation": "gelu"}, "activation is 'gelu', but hidden_act is 'relu2'"),
        ({"norm_eps": 1e-6}, "norm_eps is 1e-06, but rms_norm_eps is 1e-05"),
        ({"suppress_tokens": [1]}, "suppress_tokens is [1]"),
        ({"quantization_config": small.OFFLINE | {"group_size": 128}}, "quantization_config.group_size is 128"),
        ({"quantization_config": small.OFFLINE | {"bits": 4}}, "quantization_config.bits is 4"),
        ({"quantization_config": small.OFFLINE | {"new": "x"}}, "quantization_config.new is 'x'"),
    ],
)
def test_what_might_change_the_result_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(PATH, small.config(**changes))
    assert str(caught.value).startswith(f"config.json: {message}")
    assert "from config.json" in str(caught.value)


def test_null_in_quantization_config_is_absent() -> None:
    quantization = small.OFFLINE | {"rms_norm_eps": None, "use_rms_norm": None, "bits": 2, "_private": 1}
    assert parse_config(PATH, small.config(quantization_config=quantization)) == PLAIN


def test_no_key_is_in_two_tables() -> None:
    everything = [*config_keys.CONFIG_USED, *HARMLESS, *NEUTRAL, *config_keys.CONFIG_SAME]
    assert sorted(everything) == sorted(set(everything))


@pytest.mark.parametrize("key", sorted(NEUTRAL))
def test_neutral_values_change_nothing(key: str) -> None:
    for value in NEUTRAL[key]:
        assert parse_config(PATH, small.config(**{key: value})) == PLAIN
    with pytest.raises(ConfigError, match=f"config.json: {key} is 101"):
        parse_config(PATH, small.config(**{key: 101}))


@given(st.dictionaries(st.sampled_from(HARMLESS), json_values))
def test_harmless_keys_change_nothing_whatever_their_value(changes: dict[str, Any]) -> None:
    assert parse_config(PATH, small.config(**changes)) == PLAIN


@given(st.text(max_size=12).filter(lambda key: key not in KNOWN | SPECIAL | QUANTIZATION), json_values)
def test_an_unknown_key_is_refused_by_name_or_switched_off(key: str, value: Any) -> None:
    off = value is None or value is False or value in ("", [], {}) or key.startswith(config_keys.HARMLESS_PREFIXES)
    for data, where in (
        (small.config() | {key: value}, ""),
        (small.config(quantization_config=small.OFFLINE | {key: value}), "quantization_config."),
    ):
        if off:
            assert parse_config(PATH, data) == PLAIN
        else:
            with pytest.raises(ConfigError) as caught:
                parse_config(PATH, data)
            assert str(caught.value).startswith(f"config.json: {where}{key} is ")


@given(st.dictionaries(st.sampled_from(sorted(KNOWN | SPECIAL)) | st.text(max_size=8), json_values, max_size=4))
def test_any_keys_are_read_or_refused_by_name(changes: dict[str, Any]) -> None:
    """A file with some keys changed parses, or the error names one of them."""
    message = error_of(small.config() | changes)
    assert message is None or any(key in message for key in changes)


@given(st.dictionaries(st.sampled_from(GENERATION_HARMLESS), json_values))
def test_recommendations_for_generation_are_accepted(changes: dict[str, Any]) -> None:
    config_keys.check_generation_keys(GENERATION_PATH, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bad_words_ids": [[5]]}, "bad_words_ids is [[5]], which is not supported; only [] is"),
        ({"forced_bos_token_id": 3}, "forced_bos_token_id is 3, which is not supported; only null is"),
        ({"no_repeat_ngram_size": 3}, "no_repeat_ngram_size is 3, which is not supported; only 0 is"),
        ({"num_beams": 4}, "num_beams is 4"),
        ({"stop_strings": ["###"]}, "stop_strings is ['###']"),
        ({"sequence_bias": {"1": 2.0}}, "sequence_bias is"),
        ({"min_new_tokens": 5}, "min_new_tokens is 5"),
        ({"new_setting": 5}, "new_setting is 5. This setting is not supported and might change the result"),
    ],
)
def test_settings_that_force_or_ban_tokens_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    small.write_folder(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(changes))
    with pytest.raises(ConfigError) as caught:
        Checkpoint.open(tmp_path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("delete it from generation_config.json")


def test_settings_that_ban_nothing_are_accepted(tmp_path: Path) -> None:
    small.write_folder(tmp_path)
    settings = {"suppress_tokens": [], "begin_suppress_tokens": None, "num_beams": 1, "sequence_bias": {}}
    more = {"_from_model_config": True, "do_sample": [True], "temperature": 0.6, "top_p": 0.9, "max_length": 4096}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings | more | {"eos_token_id": 9}))
    assert Checkpoint.open(tmp_path).config.eos_token_ids == (2, 9)
