"""The settings of rotary positions in config.json: the base, and how positions are scaled for long texts.

A scaling whose factor is 1 changes nothing, and published files carry such scalings. It is read as none, so that all
bits are those of unscaled positions. Unknown scalings are refused by name. So is `dynamic` with another factor: there,
the keys that are in the cache would change with the length of the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from bitnet_tt.checks import is_int, is_number, positive_float, require
from bitnet_tt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Position interpolation (arXiv 2306.15595): every frequency is divided by `factor`."""

    rope_type: ClassVar[str] = "linear"
    factor: float


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN (arXiv 2309.00071): fast frequencies stay, slow ones are divided by `factor`, with a ramp between them.

    Attributes:
        factor: The divisor.
        original_max_position_embeddings: The length of texts before scaling, in tokens.
        attention_factor: Multiplies queries and keys.
        beta_fast: The ramp begins at the frequency with this many rotations in the original length.
        beta_slow: The ramp ends at the frequency with this many rotations.
        truncate: Whether both ends of the ramp are rounded outwards to whole pairs of features.
    """

    rope_type: ClassVar[str] = "yarn"
    factor: float
    original_max_position_embeddings: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """The scaling of Llama 3.1: as YaRN's, but the ramp is linear in the frequency.

    Attributes:
        factor: The divisor of slow frequencies.
        original_max_position_embeddings: The length of texts before scaling, in tokens.
        low_freq_factor: Frequencies with fewer rotations in the original length are divided.
        high_freq_factor: Frequencies with more rotations stay.
    """

    rope_type: ClassVar[str] = "llama3"
    factor: float
    original_max_position_embeddings: int
    low_freq_factor: float
    high_freq_factor: float


_MAX_LENGTH = 1 << 24
"""A longer original length means a damaged file."""

type RopeScaling = LinearScaling | YarnScaling | Llama3Scaling

_FACTORS = ("factor", "attention_factor", "attn_factor", "partial_rotary_factor")
"""Settings that change nothing if they are 1."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": (),  # its factor must be 1
    "yarn": ("factor", "attention_factor", "beta_fast", "beta_slow", "truncate", "mscale", "mscale_all_dim"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""The scalings that are supported, and the settings that each reads, besides the original length."""

_HARMLESS = (
    "rope_type",  # read here
    "type",  # its older name
    "rope_theta",  # read here
    "max_position_embeddings",  # the limit is that of the model
    "original_max_position_embeddings",  # read by the scalings that use it
    *("beta_fast", "beta_slow", "truncate", "mscale", "mscale_all_dim"),  # only yarn reads them
    *("low_freq_factor", "high_freq_factor"),  # only llama3 reads them
    "finetuned",  # tells how the model was trained
)
"""Settings that change nothing if the scaling does not read them."""


def rope_settings(data: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Return the base of the rotary positions, and their scaling, None if they have none.

    Args:
        data: The fields of a config.json.

    Raises:
        ConfigError: A setting is wrong or unknown, or two fields give different scalings.
    """
    theta = positive_float(data, "rope_theta", default=10000.0)
    _require_1("partial_rotary_factor", data.get("partial_rotary_factor"))
    found: list[RopeScaling | None] = []
    for name in ("rope_scaling", "rope_parameters"):  # transformers 5 writes the second, and its theta counts
        settings = data.get(name) or {}
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{name} must be an object")
        settings = {key: value for key, value in settings.items() if value is not None}
        if settings:
            found.append(_scaling(name, settings, data))
        theta = positive_float(settings, "rope_theta", default=theta, where=name + ".")
    if len(found) == 2 and found[0] != found[1]:
        raise ConfigError("rope_scaling and rope_parameters give different scalings; delete the wrong one")
    scaling = found[0] if found else None
    if isinstance(scaling, YarnScaling) and theta <= 1:
        raise ConfigError(f"rope_theta is {theta}; 'yarn' rotary positions need a base above 1")
    return theta, scaling


def scaling_fields(scaling: RopeScaling) -> dict[str, Any]:
    """Return the `rope_scaling` of a config.json that describes a scaling."""
    return {"rope_type": scaling.rope_type, **asdict(scaling)}


def _scaling(where: str, settings: Mapping[str, Any], data: Mapping[str, Any]) -> RopeScaling | None:
    """Read one field that describes a scaling.

    Args:
        where: The field of config.json, for error messages.
        settings: Its value, without nulls.
        data: All fields of config.json.
    """
    kind = settings.get("rope_type", settings.get("type", "default"))
    if not (isinstance(kind, str) and kind in _KEYS):
        raise ConfigError(f"{where}.rope_type is {kind!r}; known rotary positions: {', '.join(_KEYS)}")
    for name, value in settings.items():
        if name in _KEYS[kind]:
            continue
        if name in _FACTORS:
            _require_1(f"{where}.{name}", value, of=f" for {kind!r} rotary positions")
        elif name not in _HARMLESS:
            raise ConfigError(f"{where}.{name} is not supported; use a checkpoint without this setting")
    if kind == "default":
        return None
    if "factor" not in settings:
        raise ConfigError(f"{where}.factor is missing; {kind!r} rotary positions need it")
    factor = _number(where, settings, "factor", at_least=1.0)
    if kind == "yarn":
        attention_factor = _yarn_attention_factor(where, settings, factor)
        if factor == attention_factor == 1:
            return None
        return YarnScaling(
            factor=factor,
            original_max_position_embeddings=_original_length(where, settings, data),
            attention_factor=attention_factor,
            beta_fast=_number(where, {"beta_fast": 32.0, **settings}, "beta_fast", at_least=1e-3),
            beta_slow=_number(where, {"beta_slow": 1.0, **settings}, "beta_slow", at_least=1e-3),
            truncate=_flag(where, settings, "truncate"),
        )
    if factor == 1:
        return None
    if kind == "linear":
        return LinearScaling(factor)
    scaling = Llama3Scaling(
        factor=factor,
        original_max_position_embeddings=_original_length(where, settings, data),
        low_freq_factor=_number(where, settings, "low_freq_factor"),
        high_freq_factor=_number(where, settings, "high_freq_factor"),
    )
    if scaling.high_freq_factor <= scaling.low_freq_factor:
        raise ConfigError(f"{where}.high_freq_factor must be above low_freq_factor")
    return scaling


def _yarn_attention_factor(where: str, settings: Mapping[str, Any], factor: float) -> float:
    """Return the attention factor of YaRN, in the rules of transformers' modeling_rope_utils."""
    if "attention_factor" in settings:
        return _number(where, settings, "attention_factor")
    exponents = [
        positive_float(settings, name, default=1.0, where=where + ".")
        for name in ("mscale", "mscale_all_dim")
        if settings.get(name)  # 0 is as if it were missing
    ]
    log = math.log(factor)
    if len(exponents) == 2:
        return (0.1 * exponents[0] * log + 1.0) / (0.1 * exponents[1] * log + 1.0)
    return 0.1 * log + 1.0


def _original_length(where: str, settings: Mapping[str, Any], data: Mapping[str, Any]) -> int:
    """Return the length of texts before scaling. As in transformers, a field outside the settings counts first."""
    name = "original_max_position_embeddings"
    for path, fields in ((name, data), (f"{where}.{name}", settings), ("max_position_embeddings", data)):
        value = fields.get(path.rpartition(".")[2])
        if value is not None:
            require(path, value, f"an integer from 1 to {_MAX_LENGTH}", is_int(value, 1, _MAX_LENGTH))
            return int(value)
    raise ConfigError(f"{where}.{name} is missing")


def _number(where: str, settings: Mapping[str, Any], name: str, at_least: float = 0.0) -> float:
    """Return a finite number above 0 and not below `at_least`."""
    value, path = settings.get(name), f"{where}.{name}"
    if value is None:
        raise ConfigError(f"{path} is missing")
    known = is_number(value, at_least) and value > 0
    require(path, value, f"a number of at least {at_least:g}" if at_least else "a positive number", known)
    return float(value)


def _flag(where: str, settings: Mapping[str, Any], name: str) -> bool:
    value = settings.get(name, True)
    require(f"{where}.{name}", value, "true or false", isinstance(value, bool))
    return bool(value)


def _require_1(name: str, value: object, of: str = "") -> None:
    """Refuse a factor other than 1; `of` says in the message what it scales."""
    if value is not None and not is_number(value, 1, 1):
        raise ConfigError(f"{name} is {value!r}{of}; only 1.0, which changes nothing, is supported")
