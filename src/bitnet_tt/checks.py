"""Checks of values that come from outside: config.json and the arguments of users."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from bitnet_tt.errors import ConfigError


def require(name: str, value: object, requirement: str, ok: bool) -> None:
    """Refuse a value unless it is ok.

    Args:
        name: The field or option, for the message.
        value: Its value, for the message.
        requirement: What the value must be, such as `a positive number`.
        ok: Whether it is.

    Raises:
        ConfigError: It is not; the message names the field, the requirement and the value.
    """
    if not ok:
        raise ConfigError(f"{name} must be {requirement}, not {value!r}")


def is_int(value: object, low: int, high: int | None = None) -> bool:
    """Return whether a value is an integer from `low` to `high`. NumPy's integers are, a bool is not."""
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and int(value) >= low
        and (high is None or int(value) <= high)
    )


def is_number(value: object, low: float, high: float = math.inf) -> bool:
    """Return whether a value is a finite number from `low` to `high`. NumPy's numbers are, a bool is not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    number = int(value) if isinstance(value, Integral) else float(value)
    # Python compares integers of any size with floats exactly; to convert a huge one would overflow.
    return low <= number <= min(high, sys.float_info.max)


def positive_float(data: Mapping[str, Any], name: str, default: float, where: str = "") -> float:
    """Return a positive number of an object of config.json.

    Args:
        data: The object.
        name: The field.
        default: Its value if the object does not have it, or has null.
        where: What stands before the name in messages.

    Raises:
        ConfigError: The value is no positive number.
    """
    value = default if data.get(name) is None else data[name]
    require(where + name, value, "a positive number", is_number(value, 0.0) and value > 0)
    return float(value)
