"""Run BitNet b1.58 language models on the CPU, with exact products, and on Tenstorrent Blackhole cards."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitnet_tt.config import GenerationConfig, ModelConfig
    from bitnet_tt.errors import BitNetError
    from bitnet_tt.model import BitNetModel

__all__ = ["BitNetError", "BitNetModel", "GenerationConfig", "ModelConfig"]

_MODULES = {"BitNetError": "errors", "BitNetModel": "model", "GenerationConfig": "config", "ModelConfig": "config"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `bitnet-tt --help` does not wait for NumPy."""
    if name in _MODULES:
        return getattr(import_module(f"bitnet_tt.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'bitnet_tt' has no attribute {name!r}")
