"""Which models the Tenstorrent backend can run."""

from __future__ import annotations

from bitnet_tt.backends.tt.planning.attention import MAX_HEAD_DIM
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError


def check_supported(config: ModelConfig) -> None:
    """Check that the card has an operation for every part of a model, and that its dimensions are whole tiles.

    Raises:
        DeviceError: It does not run the model. The message names the part or the dimension.
    """
    if config.quantization.group_size is not None:
        raise DeviceError(
            f"the model's weights have a scale for each group of {config.quantization.group_size}, as those of "
            "Ternary-Bonsai; the Tenstorrent backend has one scale for each matrix: use device='cpu'"
        )
    if config.qk_norms:
        raise DeviceError(
            "the model has q_norm and k_norm (the Qwen3 architecture), which the Tenstorrent backend does not have: "
            "use device='cpu'"
        )
    for name, size, unit in (
        ("hidden_size", config.hidden_size, TILE),
        ("intermediate_size", config.intermediate_size, TILE),
        ("head_dim", config.head_dim, 2 * TILE),
    ):
        if size % unit:
            raise DeviceError(f"{name} is {size}; the Tenstorrent backend needs a multiple of {unit}: use device='cpu'")
    if config.head_dim > MAX_HEAD_DIM:
        raise DeviceError(
            f"head_dim is {config.head_dim}; the Tenstorrent backend has at most {MAX_HEAD_DIM}: use device='cpu'"
        )
