"""Every generation option is checked, and refused by name; type checkers know the same options."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

import bitnet_tt
from bitnet_tt import config, generation_config
from bitnet_tt.config import GenerationConfig, GenerationOptions
from bitnet_tt.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 10**400),
        ("temperature", True),
        ("temperature", "1"),
        ("top_k", -1),
        ("top_p", 0),
        ("top_p", 1.1),
        ("min_p", 2),
        ("repetition_penalty", 0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", None),
        ("logit_bias", {3: 101}),
        ("logit_bias", {-1: 1}),
        ("logit_bias", {"3": 1}),
        ("logit_bias", {3: float("nan")}),
        ("logit_bias", [3, 4]),
        ("logit_bias", 3),
        ("stop", ["a", ""]),
        ("stop_token_ids", [-1]),
        ("seed", -1),
        ("seed", 1.5),
        ("logprobs", 101),
        ("temprature", 1),
    ],
)
def test_a_generation_option_that_cannot_be_used_is_named(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=option):
        GenerationConfig().with_options(**{option: value})


def test_one_stop_string_is_a_list_of_one() -> None:
    assert GenerationConfig(stop="###").stop == ("###",)


def test_no_stop_may_be_written_as_none() -> None:
    options: GenerationOptions = {"stop": None, "stop_token_ids": None}
    assert GenerationConfig(stop=["x"], stop_token_ids=[1]).with_options(**options) == GenerationConfig()


def test_a_logit_bias_is_a_mapping_and_stays_hashable() -> None:
    config = GenerationConfig(logit_bias={9: 1, 4: -100})
    assert config.logit_bias == ((4, -100.0), (9, 1.0))
    assert config.with_options(seed=1) == GenerationConfig(logit_bias=((9, 1), (4, -100)), seed=1)
    assert config.with_options(logit_bias=None) == GenerationConfig()
    assert hash(config) == hash(GenerationConfig(logit_bias={4: -100, 9: 1.0}))


def test_options_replace_single_fields() -> None:
    config = GenerationConfig(temperature=0.7, seed=1)
    assert config.with_options(seed=2) == GenerationConfig(temperature=0.7, seed=2)
    assert config.seed == 1


def test_the_typed_options_are_the_fields() -> None:
    assert list(get_type_hints(GenerationOptions)) == [field.name for field in fields(GenerationConfig)]
    assert get_type_hints(GenerationOptions) == get_type_hints(GenerationConfig)
    assert GenerationOptions.__required_keys__ == frozenset()


def test_the_public_import_paths_are_one_class() -> None:
    assert bitnet_tt.GenerationConfig is config.GenerationConfig is generation_config.GenerationConfig
