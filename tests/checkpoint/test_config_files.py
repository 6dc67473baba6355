"""Settings of config.json that concern single modules are used or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.checkpoint.config_files import parse_config
from bitnet_tt.errors import ConfigError
from tests.checkpoint import small

PATH = Path("config.json")
PATHS = [f"model.layers.{layer}.{name}" for layer in range(small.LAYERS) for name in small.LINEARS]


def not_converted(entries: Any, quantization: dict[str, Any] = small.ONLINE) -> dict[str, Any]:
    return small.config(quantization_config=quantization | {"modules_to_not_convert": entries})


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        ["lm_head"],
        ["lm_head", "embed_tokens", "model.embed_tokens", "model.norm", "model.layers.0.input_layernorm"],
        ["model.layers.7.mlp.down_proj"],
    ],
)
def test_modules_that_are_never_ternary_may_be_listed(entries: Any) -> None:
    assert parse_config(PATH, not_converted(entries)) == parse_config(PATH, not_converted(None))


@pytest.mark.parametrize(
    ("entry", "dense"),
    [
        ("model.layers.0.mlp.down_proj", "model.layers.0.mlp.down_proj"),
        ("model.layers.1", "model.layers.1.self_attn.q_proj"),
        ("o_proj", "model.layers.0.self_attn.o_proj"),
        ("mlp", "model.layers.0.mlp.gate_proj"),
        ("model", "model.layers.0.self_attn.q_proj"),
    ],
)
@pytest.mark.parametrize("quantization", [small.ONLINE, small.OFFLINE, {"quant_method": "bitnet"}])
def test_a_linear_that_must_stay_dense_is_refused_by_name(quantization: dict[str, Any], entry: str, dense: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(PATH, not_converted(["lm_head", entry], quantization))
    assert f"modules_to_not_convert has the entry {entry!r}, by which {dense} is not ternary" in str(caught.value)
    assert str(caught.value).startswith("config.json: ")


@pytest.mark.parametrize("entries", ["lm_head", {"lm_head": True}, [1], [["lm_head"]], 5, ["lm_.*"], [""]])
def test_entries_that_are_no_module_names_are_refused(entries: Any) -> None:
    with pytest.raises(ConfigError, match="modules_to_not_convert"):
        parse_config(PATH, not_converted(entries))


def test_a_damaged_number_of_layers_costs_no_time() -> None:
    data = not_converted(["lm_head"] * 1000) | {"num_hidden_layers": 1 << 24}
    assert parse_config(PATH, data).num_hidden_layers == 1 << 24


@given(st.sampled_from(PATHS), st.data())
def test_any_beginning_or_end_of_a_linear_is_refused(path: str, data: st.DataObject) -> None:
    parts = path.split(".")
    cut = data.draw(st.integers(1, len(parts)))
    for entry in (".".join(parts[:cut]), ".".join(parts[-cut:])):
        with pytest.raises(ConfigError, match="modules_to_not_convert"):
            parse_config(PATH, not_converted([entry]))
