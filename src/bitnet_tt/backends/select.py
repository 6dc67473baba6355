"""Create the backend of a device."""

from __future__ import annotations

import importlib.util
from typing import get_args

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.cpu.backend import CPUBackend, check_settings
from bitnet_tt.backends.options import BackendOptions, Device
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError
from bitnet_tt.weights import ModelWeights


def check_device(options: BackendOptions) -> None:
    """Check a device and its settings, before a model is looked for.

    Raises:
        DeviceError: The device is unknown, or this processor cannot run with these settings.
    """
    known = get_args(Device)
    if options.device not in known:
        raise DeviceError(f"unknown device {options.device!r}; known devices: {', '.join(known)}")
    if options.resolved_device == "cpu":
        check_settings(options.threads, options.isa)


def check_model(config: ModelConfig, options: BackendOptions, *, embeds: bool, adapted: bool) -> None:
    """Check that a device can run a model, before its weights are loaded. The CPU runs all models.

    Args:
        config: The shape of the model.
        options: The device and its settings.
        embeds: Whether it is an embedding model.
        adapted: Whether it runs with a low-rank adapter.

    Raises:
        DeviceError: It cannot, and the message names the part of the model or the setting; or ttnn is missing.
    """
    if options.resolved_device == "tt":
        if embeds:
            raise DeviceError(
                "this is an embedding model, and the Tenstorrent backend has no embeddings of texts: use device='cpu'"
            )
        if adapted:
            raise DeviceError("the Tenstorrent backend runs no adapters (LoRA): use device='cpu'")
        # Imported here because a process without a card does not need them, and should start sooner.
        from bitnet_tt.backends.tt.planning.pipeline import check_cards
        from bitnet_tt.backends.tt.planning.supported import check_supported

        check_supported(config)
        check_cards(config, options.cards, tensor_parallel=options.tensor_parallel)
        _require_ttnn()
    elif options.cards != 1:
        raise DeviceError(f"cards is {options.cards}, but the device is the CPU: use device='tt' with several cards")
    elif options.tensor_parallel:
        raise DeviceError("tensor_parallel is set, but the device is the CPU: use device='tt' with 2 cards")


def create_backend(
    config: ModelConfig, weights: ModelWeights, options: BackendOptions, *, context_length: int
) -> Backend:
    """Load a model onto a device.

    Args:
        config: The shape of the model.
        weights: The weights of the model.
        options: The device and its settings, as `check_device` and `check_model` accept them.
        context_length: Maximum number of positions of one sequence.

    Raises:
        DeviceError: The device is missing or cannot be used; the message says how to get it.
    """
    if options.resolved_device == "cpu":
        return CPUBackend(config, weights, context_length=context_length, threads=options.threads, isa=options.isa)
    from bitnet_tt.backends.tt.environment import silence_ttnn

    silence_ttnn()
    # Imported here because it imports ttnn, which is optional and takes seconds to import.
    from bitnet_tt.backends.tt.backend import TTBackend

    return TTBackend(
        config,
        weights,
        context_length=context_length,
        precision=options.precision,
        ternary_tiles=options.ternary_tiles,
        cards=options.cards,
        tensor_parallel=options.tensor_parallel,
    )


def _require_ttnn() -> None:
    """Check that the Python package ttnn is installed, without importing it.

    Raises:
        DeviceError: It is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("ttnn") is None:
        raise DeviceError(
            "device 'tt' needs the Python package ttnn: run `uv sync --extra tt` where bitnet-tt was cloned (Linux on "
            "x86-64, Python 3.12), or use device='cpu'"
        )
