"""Checks of values that come from outside: config.json and the arguments of users."""

from __future__ import annotations

import math
import sys

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
    """Return whether a value is an integer from `low` to `high`. A bool is not an integer here."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)


def is_number(value: object, low: float, high: float = math.inf) -> bool:
    """Return whether a value is a finite number from `low` to `high`. A bool is not a number here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Python compares integers of any size with floats exactly; to convert a huge one would overflow.
    return low <= value <= min(high, sys.float_info.max)
