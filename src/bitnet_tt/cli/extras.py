"""The extras that commands need, and the error if one is not installed."""

from __future__ import annotations

import importlib.util

from bitnet_tt.errors import ConfigError

_PACKAGES = {
    "server": ("fastapi", "uvicorn", "prometheus_client"),
    "scale": ("fastapi", "uvicorn", "prometheus_client", "dynamo"),
}
"""What an extra installs, by the names that Python imports."""


def require_extra(command: str, extra: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Raises:
        ConfigError: One is missing; the message says how to install them.
    """
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES[extra]):
        raise ConfigError(
            f"bitnet-tt {command} needs the extra `{extra}`: run `uv sync --extra {extra}` where bitnet-tt was cloned, "
            f"or `pip install 'bitnet-tt[{extra}]'`"
        )
