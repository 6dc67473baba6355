"""The settings of rotary positions in config.json: the base, and scalings by a factor of 1, which change nothing.

Published files carry such scalings, so they load. Every other scaling is refused by name. What a factor of 1 does, in
the formulas of transformers (modeling_rope_utils) and of llama.cpp, for frequencies f:

- linear: f / 1.
- dynamic: the base is multiplied by (1 * n / m - 0) ** c, where m is max_position_embeddings and n the number of
  positions, at least m. Texts here are never longer than m, so this is 1.
- yarn: a * f + (1 - a) * f / 1, whatever the ramp a. The attention factor is mscale(1) = 0.1 * ln(1) + 1 = 1, or the
  quotient of two such values.
- llama3: f, or f / 1, or a mixture of the two.

So the frequencies are those of unscaled positions, and ours have the same bits. (In transformers, a mixture of two
equal float32 numbers can be one unit in the last place off.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitnet_tt.checks import is_int, is_number, positive_float
from bitnet_tt.errors import ConfigError

_SCALINGS = ("linear", "dynamic", "yarn", "llama3")
"""The scalings that change nothing if their factor is 1."""

_NEUTRAL_AT_1 = ("factor", "attention_factor", "attn_factor", "partial_rotary_factor")

_HARMLESS = (
    "rope_type",  # read here
    "type",  # its older name
    "rope_theta",  # read here
    "max_position_embeddings",  # the limit is that of the model
    "original_max_position_embeddings",  # checked for yarn; the others use it only to scale
    *("beta_fast", "beta_slow", "truncate"),  # the ramp of yarn
    *("mscale", "mscale_all_dim"),  # exponents of yarn's attention factor
    *("low_freq_factor", "high_freq_factor"),  # the ramp of llama3
    "finetuned",  # tells how the model was trained
)
"""Settings that change nothing if `factor` is 1, whatever their value."""


def rope_theta(data: Mapping[str, Any]) -> float:
    """Return the base of the rotary positions, and refuse every setting that scales them.

    Args:
        data: The fields of a config.json.

    Raises:
        ConfigError: A setting changes the positions, or is unknown.
    """
    theta = positive_float(data, "rope_theta", default=10000.0)
    _require_1("partial_rotary_factor", data.get("partial_rotary_factor"))
    for name in ("rope_scaling", "rope_parameters"):  # transformers 5 writes the second, and it counts
        settings = data.get(name) or {}
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{name} must be an object")
        _check(name, settings, data)
        theta = positive_float(settings, "rope_theta", default=theta, where=name + ".")
    return theta


def _check(where: str, settings: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse settings that scale the positions.

    Args:
        where: The field of config.json, for error messages.
        settings: Its value.
        data: All fields of config.json.
    """
    kinds = [settings[name] for name in ("rope_type", "type") if settings.get(name) is not None]
    kind = kinds[0] if kinds else "default"
    if kind != "default":
        if kind not in _SCALINGS:
            raise ConfigError(
                f"{where}.rope_type is {kind!r}; only 'default' rotary positions are supported, and those of type "
                f"{', '.join(_SCALINGS)} whose factor is 1.0"
            )
        factor = settings.get("factor")
        if factor is None:
            raise ConfigError(f"{where}.factor is missing; {kind!r} rotary positions need it")
        _require_1(f"{where}.factor", factor, of=f" for {kind!r} rotary positions")
    if kind == "yarn":
        _check_original_length(where, settings, data)
    for name, value in settings.items():
        if name in _NEUTRAL_AT_1:
            _require_1(f"{where}.{name}", value)
        elif name not in _HARMLESS and value is not None:
            raise ConfigError(f"{where}.{name} is not supported; use a checkpoint with unscaled rotary positions")


def _check_original_length(where: str, settings: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse yarn from another length: some versions of transformers take the quotient of the lengths as the factor."""
    length = data.get("max_position_embeddings")
    for name, original in (
        (f"{where}.original_max_position_embeddings", settings.get("original_max_position_embeddings")),
        ("original_max_position_embeddings", data.get("original_max_position_embeddings")),
    ):
        if original is not None and not (is_int(original, 1) and original == length):
            raise ConfigError(
                f"{name} is {original!r}, but only max_position_embeddings ({length}) is supported; use a checkpoint "
                "with unscaled rotary positions"
            )


def _require_1(name: str, value: object, of: str = "") -> None:
    """Refuse a factor other than 1; `of` says in the message what it scales."""
    if value is not None and not is_number(value, 1, 1):
        raise ConfigError(f"{name} is {value!r}{of}; only 1.0, which changes nothing, is supported")
