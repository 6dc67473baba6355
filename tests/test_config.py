"""Every field of config.json is read or refused by name, whatever it holds."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import ConfigError

BITNET_2B4T: dict[str, Any] = {
    "model_type": "bitnet",
    "vocab_size": 128256,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_hidden_layers": 30,
    "num_attention_heads": 20,
    "num_key_value_heads": 5,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "hidden_act": "relu2",
    "tie_word_embeddings": True,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "auto_map": {"AutoConfig": "configuration_bitnet.BitNetConfig"},
    "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"},
}


def test_2b4t() -> None:
    config = ModelConfig.from_dict(BITNET_2B4T)
    assert (config.head_dim, config.queries_per_kv_head, config.sub_norms) == (128, 4, True)
    assert config.eos_token_ids == (128001,)
    assert config.quantization.linear_class == "autobitlinear"


def test_rope_parameters_take_the_place_of_rope_theta() -> None:
    data = {k: v for k, v in BITNET_2B4T.items() if k != "rope_theta"}
    data["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    assert ModelConfig.from_dict(data).rope_theta == 10000.0


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    "settings",
    [
        {"type": "linear", "factor": 1.0},
        {"rope_type": "linear", "factor": 1},
        {"rope_type": "default", "factor": 1.0, "attention_factor": 1.0, "partial_rotary_factor": 1.0},
        {"rope_type": "default", "original_max_position_embeddings": 4096, "attention_factor": None},
        {"rope_type": None, "type": "linear", "factor": 1.0, "mrope_section": None},
        {"rope_type": "dynamic", "factor": 1.0},
        {"rope_type": "yarn", "factor": 1.0, "beta_fast": 32, "beta_slow": 1, "mscale": 0.7, "mscale_all_dim": 0.7},
        {"rope_type": "yarn", "factor": 1, "attention_factor": 1.0, "original_max_position_embeddings": 4096},
        {"rope_type": "llama3", "factor": 1.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {},
        None,
    ],
)
def test_rope_settings_that_change_nothing(name: str, settings: dict[str, Any] | None) -> None:
    assert ModelConfig.from_dict(BITNET_2B4T | {name: settings}) == ModelConfig.from_dict(BITNET_2B4T)


@given(
    st.floats(),
    st.sampled_from(["rope_scaling", "rope_parameters"]),
    st.sampled_from(["linear", "dynamic", "yarn", "llama3"]),
)
def test_only_a_factor_of_1_is_accepted(factor: float, name: str, kind: str) -> None:
    data = BITNET_2B4T | {name: {"rope_type": kind, "factor": factor}}
    if factor == 1:
        ModelConfig.from_dict(data)
    else:
        with pytest.raises(ConfigError, match=rf"{name}\.factor is"):
            ModelConfig.from_dict(data)


def test_the_formulas_of_transformers_change_nothing_at_a_factor_of_1() -> None:
    """The frequencies of yarn and llama3, and yarn's attention factor, written down from modeling_rope_utils."""
    plain = 500000.0 ** -(np.arange(0, 128, 2) / 128)
    factor = 1.0
    ramp = np.clip((np.arange(64) - 20) / (46 - 20), 0, 1)
    np.testing.assert_allclose(plain / factor * ramp + plain * (1 - ramp), plain, rtol=1e-15)
    smooth = np.clip((8192 / (2 * np.pi / plain) - 1) / (4 - 1), 0, 1)
    np.testing.assert_allclose((1 - smooth) * plain / factor + smooth * plain, plain, rtol=1e-15)
    assert 0.1 * math.log(factor) + 1.0 == 1.0
    assert (factor * 4096 / 4096 - (factor - 1)) ** (128 / 126) == 1.0  # dynamic


def test_defaults_of_absent_fields() -> None:
    data = BITNET_2B4T | {"model_type": "llama", "quantization_config": {"quant_method": "bitnet"}}
    del data["num_key_value_heads"], data["eos_token_id"], data["rope_theta"]
    config = ModelConfig.from_dict(data)
    assert config.num_key_value_heads == 20
    assert config.quantization.linear_class == "bitlinear"
    assert (config.eos_token_ids, config.sub_norms, config.rope_theta) == ((), False, 10000.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": None}, "model_type"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 2561}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"num_hidden_layers": "30"}, "num_hidden_layers"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 127}, "head_dim"),
        ({"intermediate_size": 6913}, "intermediate_size"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 1.0}}, "rope_scaling.rope_type is 'longrope'"),
        ({"rope_scaling": {"rope_type": ["yarn"]}}, "rope_scaling.rope_type is"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling.factor is missing"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling.factor is 4.0 for 'yarn'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 1.0, "attention_factor": 1.1}}, "attention_factor is 1.1"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 2048}},
            "rope_scaling.original_max_position_embeddings is 2048",
        ),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 1.0}, "original_max_position_embeddings": 2048},
            "original_max_position_embeddings is 2048",
        ),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling.factor"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing"),
        ({"rope_scaling": {"type": "linear", "factor": True}}, "rope_scaling.factor"),
        ({"rope_scaling": {"factor": 4.0}}, "rope_scaling.factor"),
        ({"rope_scaling": {"type": "dynamic"}, "rope_parameters": {"rope_type": "default"}}, "rope_scaling.factor"),
        ({"rope_parameters": {"rope_type": "default", "mrope_section": [1]}}, "rope_parameters.mrope_section"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"input_bits": 4}, "input_bits"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_theta": -1}}, "rope_parameters.rope_theta"),
        ({"attention_bias": True}, "attention_bias"),
        ({"eos_token_id": 200000}, "eos_token_id"),
        ({"eos_token_id": [1, "x"]}, "eos_token_id"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quant_method"),
        ({"quantization_config": {"linear_class": "other"}}, "linear_class"),
        ({"quantization_config": {"quantization_mode": "other"}}, "quantization_mode"),
        ({"quantization_config": [1]}, "quantization_config"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        ModelConfig.from_dict(BITNET_2B4T | change)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(BITNET_2B4T)), json_values))
def test_any_json_is_read_or_refused_by_name(change: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        assert ModelConfig.from_dict(BITNET_2B4T | change).hidden_act in ("relu2", "silu")
