"""Which backend a device name means."""

from __future__ import annotations

import importlib.util
import os
from typing import Literal

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.tt.planning.plan import Precision
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError
from bitnet_tt.weights import ModelWeights

Device = Literal["auto", "cpu", "tt"]


def create_backend(
    device: Device,
    config: ModelConfig,
    weights: ModelWeights,
    *,
    context_length: int,
    threads: int | None = None,
    isa: str | None = None,
    precision: Precision = "fast",
) -> Backend:
    """Put a model on a device. `auto` is the CPU, the one device every machine has.

    `threads` and `isa` are for the CPU, `precision` is for a Tenstorrent card.

    Raises:
        DeviceError: The device is unknown, missing or cannot be used; the message says how to get it.
    """
    if device in ("auto", "cpu"):
        from bitnet_tt.backends.cpu.backend import CPUBackend

        return CPUBackend(config, weights, context_length=context_length, threads=threads, isa=isa)
    if device == "tt":
        return _tenstorrent(config, weights, context_length=context_length, precision=precision)
    raise DeviceError(f"unknown device {device!r}; known devices: auto, cpu, tt")


def _tenstorrent(config: ModelConfig, weights: ModelWeights, *, context_length: int, precision: Precision) -> Backend:
    if importlib.util.find_spec("ttnn") is None:
        raise DeviceError(
            "device 'tt' needs the Python package ttnn: run `uv sync --extra tt` where bitnet-tt was cloned (Linux on "
            "x86-64, Python 3.12), or use device='cpu'"
        )
    silence_ttnn()
    from bitnet_tt.backends.tt.backend import TTBackend

    return TTBackend(config, weights, context_length=context_length, precision=precision)


def silence_ttnn() -> None:
    """Before ttnn is imported: it would log its settings, and then all it does to standard output, where text goes."""
    from loguru import logger

    logger.disable("ttnn")
    os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")
