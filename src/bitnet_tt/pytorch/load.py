"""ModelWeights to tensors: every format that we read becomes parameters of the module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.checkpoint.packing import unpack
from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import ModelWeights, TernaryMatrix, as_array


def as_tensors(config: ModelConfig, weights: ModelWeights) -> dict[str, Tensor]:
    """Return the parameters of a `BitNet` of BitLinears by name: those of the checkpoint without `model.` before them.

    Ternary weights need eight times the memory of packed ones: 4.2 GB for microsoft/bitnet-b1.58-2B-4T.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in named_weights(config, weights):
        name = name.removeprefix("model.")
        if isinstance(value, TernaryMatrix):
            tensors[f"{name}.weight"] = torch.from_numpy(unpack(value.packed)).to(torch.bfloat16) - 1
            tensors[f"{name}.weight_scale"] = torch.tensor([float(value.scale)])
            if value.input_norm is not None:
                tensors[f"{name}.input_norm.weight"] = _tensor(value.input_norm)
        else:
            tensors[name] = _tensor(as_array(value))
    return tensors


def as_masters(config: ModelConfig, weights: ModelWeights) -> dict[str, Tensor]:
    """Return float32 parameters of a `BitNet` of TrainableBitLinears that compute what these weights compute.

    A master weight is 0 or plus or minus one number. The mean of all of them is the weight scale, so they quantise to
    the same ternary weights and, up to its last bit, to the same scale.
    """
    tensors = {name: tensor.float() for name, tensor in as_tensors(config, weights).items()}
    for name in [name for name in tensors if name.endswith(".weight_scale")]:
        scale, weight = tensors.pop(name), name.removesuffix("_scale")
        share = tensors[weight].abs().mean(dtype=torch.float64).clamp(min=1 / tensors[weight].numel())
        tensors[weight] *= (scale.double() / share).float()
    return tensors


def _tensor(array: NDArray[Any]) -> Tensor:
    """Copy float32, or bfloat16 as bits in uint16."""
    if array.dtype == np.uint16:
        return torch.from_numpy(array.astype(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array.copy())
