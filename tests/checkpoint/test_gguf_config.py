"""Every setting in the metadata of a GGUF file is used, changes nothing, or is refused by its key."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitnet_tt.checkpoint.gguf_config import (
    detect_family,
    end_token_metadata,
    hidden_act_note,
    model_metadata,
    parse_gguf_config,
)
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BitNetError, ConfigError
from bitnet_tt.formats.gguf import GGUF
from bitnet_tt.rope_settings import LinearScaling, RopeScaling, YarnScaling
from tests.checkpoint import small

PATH = Path("model.gguf")
CONFIG = ModelConfig.from_dict(small.config(bos_token_id=None, eos_token_id=None, quantization_config=small.OFFLINE))


def metadata(architecture: str = "bitnet-b1.58", **changes: Any) -> dict[str, Any]:
    """The metadata that we write; None removes a key of the architecture."""
    result = model_metadata(CONFIG, architecture, "x", 40)
    result |= {f"{architecture}.{key}": value for key, value in changes.items()}
    return {key: value for key, value in result.items() if value is not None}


def parse(values: dict[str, Any]) -> ModelConfig:
    return parse_gguf_config(PATH, GGUF(values, {}), detect_family(PATH, values))


@pytest.mark.parametrize("hidden_act", ["relu2", "silu"])
@pytest.mark.parametrize("architecture", ["bitnet-b1.58", "bitnet-25", "bitnet"])
def test_what_we_write_reads_back_the_same(architecture: str, hidden_act: Any) -> None:
    config = dataclasses.replace(CONFIG, hidden_act=hidden_act)
    assert parse(model_metadata(config, architecture, "x", 40)) == config


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope.scaling.type": "none"},
        {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
        {"rope.scaling.type": "linear"},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 1.0},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 0.0},
        {"rope.scaling.factor": 1.0, "rope.scaling.attn_factor": 1.0},
        {"rope.scale_linear": 1.0},
        {"rope.scaling.original_context_length": 4096, "rope.scaling.finetuned": False},
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 1.0, "rope.scaling.original_context_length": 2048},
        {"rope.scaling.type": "yarn", "rope.scaling.yarn_log_multiplier": 0.1, "rope.scaling.yarn_beta_fast": 32.0},
        {"expert_count": 0, "attention.causal": True, "logit_scale": 1.0, "tensor_data_layout": "Meta AI original pth"},
    ],
)
@pytest.mark.parametrize("architecture", ["bitnet-b1.58", "bitnet", "llama"])
def test_settings_that_change_nothing(architecture: str, scaling: dict[str, Any]) -> None:
    assert parse(metadata(architecture, **scaling)) == parse(metadata(architecture))


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}, LinearScaling(2.0)),
        ({"rope.scaling.factor": 2.0}, LinearScaling(2.0)),
        ({"rope.scale_linear": 4.0}, LinearScaling(4.0)),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_ext_factor": -1.0},
            YarnScaling(4.0, 128, 0.1 * math.log(4) + 1),
        ),
        (
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 2.0,
                "rope.scaling.original_context_length": 64,
                "rope.scaling.yarn_beta_fast": 16.0,
                "rope.scaling.yarn_beta_slow": 2.0,
                "rope.scaling.attn_factor": 1.0,
            },
            YarnScaling(2.0, 64, 0.1 * math.log(2) + 1, 16.0, 2.0),
        ),
    ],
)
def test_scalings_of_positions(scaling: dict[str, Any], expected: RopeScaling) -> None:
    config = parse(metadata(**scaling))
    assert config.rope_scaling == expected
    assert parse(model_metadata(config, "bitnet-b1.58", "x", 40)) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope.scaling.factor": 0.5}, "bitnet-b1.58.rope.scaling.factor must be a number of at least 1, not 0.5"),
        ({"rope.scaling.factor": True}, "bitnet-b1.58.rope.scaling.factor must be a number of at least 1"),
        ({"rope.scaling.factor": float("nan")}, "bitnet-b1.58.rope.scaling.factor must be a number of at least 1"),
        ({"rope.scale_linear": -4.0}, "bitnet-b1.58.rope.scale_linear must be a number of at least 1"),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_ext_factor": 0.0},
            "bitnet-b1.58.rope.scaling.yarn_ext_factor is 0.0",
        ),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 0},
            "bitnet-b1.58.rope.scaling.original_context_length must be an integer",
        ),
        ({"rope.scaling.type": "longrope"}, "bitnet-b1.58.rope.scaling.type is 'longrope'"),
        ({"rope.scaling.yarn_attn_factor": 1.2}, "bitnet-b1.58.rope.scaling.yarn_attn_factor is 1.2"),
        ({"rope.scaling.type": ["linear"]}, "bitnet-b1.58.rope.scaling.type is ['linear']"),
        ({"rope.scaling.attn_factor": 1.2}, "bitnet-b1.58.rope.scaling.attn_factor is 1.2"),
        ({"rope.dimension_count": 32}, "bitnet-b1.58.rope.dimension_count is 32"),
        ({"attention.value_length": 32}, "bitnet-b1.58.attention.value_length is 32"),
        ({"attention.sliding_window": 128}, "bitnet-b1.58.attention.sliding_window is 128"),
        ({"hidden_activation": "gelu"}, "bitnet-b1.58.hidden_activation is 'gelu'; known values: relu2, silu"),
        ({"hidden_activation": 3}, "bitnet-b1.58.hidden_activation is 3"),
        ({"new_setting": 1}, "bitnet-b1.58.new_setting is not supported"),
        ({"embedding_length": None}, "bitnet-b1.58.embedding_length is missing"),
        (
            {"attention.layer_norm_rms_epsilon": None},
            "bitnet-b1.58.attention.layer_norm_rms_epsilon is missing",
        ),
        ({"block_count": "two"}, "bitnet-b1.58.block_count must be an integer"),
        ({"attention.head_count_kv": 3}, "bitnet-b1.58.attention.head_count (4) is not divisible by"),
        ({"rope.freq_base": -1.0}, "bitnet-b1.58.rope.freq_base must be a positive number"),
        ({"attention.layer_norm_rms_epsilon": 0.0}, "bitnet-b1.58.attention.layer_norm_rms_epsilon must be"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(metadata(**changes))
    assert str(caught.value).startswith(f"model.gguf: {message}")
    assert "config.json" not in str(caught.value)


def test_token_ids_are_named() -> None:
    for key in ("bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id"):
        with pytest.raises(ConfigError, match=rf"tokenizer\.ggml\.{key} must be a token id"):
            parse(metadata() | {f"tokenizer.ggml.{key}": "x"})


def test_ids_that_end_a_text() -> None:
    """GGUF has room for three. The files of code models name three more, at which llama.cpp stops too."""
    config = dataclasses.replace(CONFIG, eos_token_ids=(2, 9, 5, 7))
    written = metadata() | end_token_metadata(config)
    assert parse(written).eos_token_ids == (2, 9, 5)
    assert parse(written | {"tokenizer.ggml.fim_sep_token_id": 7}).eos_token_ids == (2, 9, 5, 7)


@pytest.mark.parametrize(
    ("architecture", "hidden_act", "family", "expected", "noted"),
    [
        ("bitnet", None, "1bitllm", "silu", True),
        ("bitnet", "silu", "1bitllm", "silu", False),
        ("bitnet", "relu2", "bitnet", "relu2", False),
        ("bitnet-b1.58", None, "bitnet", "relu2", False),
        ("bitnet-b1.58", "silu", "bitnet", "silu", False),
        ("bitnet-25", "relu2", "bitnet", "relu2", False),
        ("llama", None, "llama", "silu", False),
        ("llama", "relu2", "llama", "relu2", False),
    ],
)
def test_the_file_says_which_activation_it_has(
    architecture: str, hidden_act: str | None, family: str, expected: str, noted: bool
) -> None:
    values = metadata(architecture, hidden_activation=hidden_act)
    assert detect_family(PATH, values).name == family
    assert parse(values).hidden_act == expected
    assert [note.split(",")[0] for note in hidden_act_note(values)] == (
        ["the file has no bitnet.hidden_activation"] if noted else []
    )


@given(setting=st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1, max_size=30), value=st.integers() | st.text())
def test_any_unknown_setting_is_refused_by_name(setting: str, value: Any) -> None:
    values = metadata() | {f"bitnet-b1.58.{setting}": value}
    assume(len(values) > len(metadata()))
    try:
        config = parse(values)
    except BitNetError as error:
        assert f"bitnet-b1.58.{setting}" in str(error)  # noqa: PT017
    else:
        assert config == parse(metadata())
