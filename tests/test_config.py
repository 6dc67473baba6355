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
from bitnet_tt.rope_settings import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling, scaling_fields

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
        {"rope_type": "yarn", "factor": 1, "attention_factor": 1.0, "original_max_position_embeddings": 2048},
        {"rope_type": "llama3", "factor": 1.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {},
        None,
    ],
)
def test_rope_settings_that_change_nothing(name: str, settings: dict[str, Any] | None) -> None:
    assert ModelConfig.from_dict(BITNET_2B4T | {name: settings}) == ModelConfig.from_dict(BITNET_2B4T)


@given(
    st.floats() | st.integers() | st.booleans(),
    st.sampled_from(["rope_scaling", "rope_parameters"]),
    st.sampled_from(["linear", "dynamic", "yarn", "llama3"]),
)
def test_any_factor_is_read_or_refused_by_name(factor: float, name: str, kind: str) -> None:
    settings = {"rope_type": kind, "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    try:
        scaling = ModelConfig.from_dict(BITNET_2B4T | {name: settings}).rope_scaling
    except ConfigError as error:
        assert f"{name}.factor " in str(error)  # noqa: PT017
    else:
        assert factor >= 1
        assert (scaling is None) == (factor == 1)
        assert scaling is None or (scaling.rope_type, scaling.factor) == (kind, float(factor))


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
LLAMA3 = {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2}}, LinearScaling(2.0)),
        ({"rope_scaling": YARN}, YarnScaling(4.0, 1024, 0.1 * math.log(4) + 1)),
        ({"rope_parameters": YARN | {"rope_theta": 1e6}}, YarnScaling(4.0, 1024, 0.1 * math.log(4) + 1)),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, YarnScaling(2.0, 4096, 0.1 * math.log(2) + 1)),
        (
            {"rope_scaling": YARN | {"attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2.0, "truncate": False}},
            YarnScaling(4.0, 1024, 1.5, 16.0, 2.0, False),
        ),
        (
            {"rope_scaling": YARN | {"mscale": 0.5, "mscale_all_dim": 2.0}},
            YarnScaling(4.0, 1024, (0.05 * math.log(4) + 1) / (0.2 * math.log(4) + 1)),
        ),
        ({"rope_scaling": YARN | {"mscale": 0.5}}, YarnScaling(4.0, 1024, 0.1 * math.log(4) + 1)),
        # As in transformers, the field outside the settings counts.
        (
            {"rope_scaling": YARN, "original_max_position_embeddings": 512},
            YarnScaling(4.0, 512, 0.1 * math.log(4) + 1),
        ),
        ({"rope_scaling": LLAMA3}, Llama3Scaling(8.0, 4096, 1.0, 4.0)),
        ({"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 8}}, Llama3Scaling(8.0, 8, 1.0, 4.0)),
        ({"rope_scaling": LLAMA3, "rope_parameters": LLAMA3 | {"rope_theta": 5.0}}, Llama3Scaling(8.0, 4096, 1.0, 4.0)),
    ],
)
def test_scalings(change: dict[str, Any], expected: RopeScaling) -> None:
    config = ModelConfig.from_dict(BITNET_2B4T | change)
    assert config.rope_scaling == expected
    written = BITNET_2B4T | {"rope_scaling": scaling_fields(expected)}
    assert ModelConfig.from_dict(written).rope_scaling == expected


def test_qwen3_has_norms_of_queries_and_keys() -> None:
    config = ModelConfig.from_dict(BITNET_2B4T | {"model_type": "qwen3", "hidden_act": "silu", "head_dim": 64})
    assert (config.qk_norms, config.sub_norms, config.architecture) == (True, False, "qwen3")
    assert config.norm_sizes == {
        "input_layernorm": 2560,
        "post_attention_layernorm": 2560,
        "q_norm": 64,
        "k_norm": 64,
    }
    assert config.linear_shapes["q_proj"] == (1280, 2560)
    assert config.linear_shapes["o_proj"] == (2560, 1280)


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
        ({"rope_scaling": YARN | {"factor": 0.5}}, "rope_scaling.factor must be a number of at least 1"),
        ({"rope_scaling": YARN | {"attention_factor": 0}}, "rope_scaling.attention_factor must be a positive number"),
        ({"rope_scaling": YARN | {"beta_fast": 0}}, "rope_scaling.beta_fast must be a number of at least 0.001"),
        ({"rope_scaling": YARN | {"truncate": 1}}, "rope_scaling.truncate must be true or false"),
        ({"rope_scaling": YARN | {"short_factor": [1]}}, "rope_scaling.short_factor is not supported"),
        ({"rope_scaling": YARN, "rope_theta": 0.5}, "rope_theta is 0.5; 'yarn' rotary positions need a base above 1"),
        (
            {"rope_scaling": YARN | {"original_max_position_embeddings": 0.5}},
            "rope_scaling.original_max_position_embeddings must be an integer",
        ),
        (
            {"rope_scaling": YARN, "original_max_position_embeddings": -1},
            "original_max_position_embeddings must be an integer",
        ),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": None}}, "rope_scaling.low_freq_factor is missing"),
        ({"rope_scaling": LLAMA3 | {"high_freq_factor": 1}}, "rope_scaling.high_freq_factor must be above"),
        ({"rope_scaling": YARN, "rope_parameters": LLAMA3}, "give different scalings; delete the wrong one"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.factor is 2.0 for 'dynamic'"),
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
