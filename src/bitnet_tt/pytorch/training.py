"""Master weights of a BitNet: read them to train, and write them so that `bitnet-tt convert` quantises them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitnet_tt.checkpoint import Checkpoint, resolve
from bitnet_tt.checkpoint.config_files import write_config
from bitnet_tt.checkpoint.names import EMBEDDING, LM_HEAD
from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from bitnet_tt.formats.safetensors import write_safetensors
from bitnet_tt.formats.staging import staged
from bitnet_tt.pytorch.bitlinear import Linear, TrainableBitLinear
from bitnet_tt.pytorch.decoder import BitNet
from bitnet_tt.pytorch.load import as_masters
from bitnet_tt.weights import float32_to_bfloat16

_OUR_NORM, _STORED_NORM = ".input_norm.", ".rms_norm."
"""The norm of a linear's input, in the module and in a checkpoint."""

_SIDE_FILES_BYTES = 1 << 25


def load_masters(
    model: str | Path,
    *,
    max_length: int | None = None,
    linear: Linear = TrainableBitLinear,
    masters: bool = False,
    local_files_only: bool = False,
) -> BitNet:
    """Load a model to train it further.

    Args:
        model: `demo`, a folder, a `.gguf` file, or a hub id. Of master weights, and of an ordinary Llama in floats, the
            floats are loaded. Of ternary weights, masters are made that quantise to the same.
        max_length: Maximum number of tokens of a text. None means the model's own limit, which is also the maximum.
        linear: The class of the linears.
        masters: The weights are floats, although config.json does not announce master weights. An ordinary Llama needs
            this: training starts from its weights.
        local_files_only: Never use the network; a hub id must be in the cache.

    Raises:
        CheckpointError: The model is not found, damaged, or of a kind this package does not know.
        ConfigError: A setting, or a field of config.json, cannot be used.
    """
    path = resolve(model, local_files_only=local_files_only)
    checkpoint = Checkpoint.open(path, masters=masters)
    weights = checkpoint.load_weights()  # checks every tensor
    module = BitNet(checkpoint.config, max_length=max_length, linear=linear)
    if checkpoint.holds_masters:
        stored = checkpoint.load_masters()
        tensors = {_module_name(name): torch.from_numpy(array.copy()) for name, array in stored.items()}
    else:
        tensors = as_masters(checkpoint.config, weights)
    module.load_state_dict(tensors)
    return module


def save_masters(module: BitNet, folder: str | Path, *, tokenizer: Path | None = None, overwrite: bool = False) -> None:
    """Write a model with float weights as a Hugging Face folder of master weights.

    Its config.json has `quantization_mode: online`, so that every reader quantises the linears as TrainableBitLinear
    does. They and the norms are stored in float32, the embedding and the lm_head in bfloat16, as every backend
    computes with them.

    Args:
        module: The model. Its linears have float weights.
        folder: The folder to create. It appears complete or not at all.
        tokenizer: The folder or .gguf file whose tokenizer is copied; None to write no tokenizer.
        overwrite: Replace an existing checkpoint folder.

    Raises:
        CheckpointError: The folder exists or cannot be written.
    """
    tensors = {_stored_name(name): tensor for name, tensor in module.state_dict().items()}
    arrays = {name: _as_stored(name, tensor) for name, tensor in tensors.items()}
    size = sum(array.nbytes for array in arrays.values())
    with staged(Path(folder), size + _SIDE_FILES_BYTES, overwrite=overwrite) as temporary:
        temporary.mkdir()
        write_safetensors(temporary / "model.safetensors", arrays)
        write_config(temporary, module.config, "online")
        if tokenizer is not None:
            copy_tokenizer(tokenizer, temporary)


def _module_name(name: str) -> str:
    return name.removeprefix("model.").replace(_STORED_NORM, _OUR_NORM)


def _stored_name(name: str) -> str:
    return (name if name == LM_HEAD else f"model.{name}").replace(_OUR_NORM, _STORED_NORM)


def _as_stored(name: str, tensor: Tensor) -> NDArray[Any]:
    values: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return float32_to_bfloat16(values) if name in (EMBEDDING, LM_HEAD) else values
