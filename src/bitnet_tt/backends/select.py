"""Which backend a device name means."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from bitnet_tt.backends.base import Backend
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
) -> Backend:
    """Put a model on a device. `auto` is the CPU, the one device every machine has and this version can use.

    Raises:
        DeviceError: The device is unknown, missing or cannot be used; the message says how to get it.
    """
    if device in ("auto", "cpu"):
        from bitnet_tt.backends.cpu import CPUBackend

        return CPUBackend(config, weights, context_length=context_length, threads=threads, isa=isa)
    if device == "tt":
        raise DeviceError(f"device 'tt' cannot be used: {missing_for_tenstorrent()}; until then use device='cpu'")
    raise DeviceError(f"unknown device {device!r}; known devices: auto, cpu, tt")


def missing_for_tenstorrent() -> str:
    """What keeps this machine and this version from running on a Tenstorrent card, and the remedies."""
    missing = ["this version of bitnet-tt has no Tenstorrent backend yet, so upgrade bitnet-tt when it does"]
    if importlib.util.find_spec("ttnn") is None:
        missing.append("the Python package ttnn is not installed (pip install ttnn, on x86-64 with Python 3.12)")
    if not any(Path("/dev/tenstorrent").glob("*")):
        missing.append("no card is visible at /dev/tenstorrent (put one in and install the tt-kmd driver)")
    return "; ".join(missing)
