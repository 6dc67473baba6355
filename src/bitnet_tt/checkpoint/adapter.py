"""Read a low-rank adapter (LoRA, arXiv 2106.09685) as the PEFT library saves it, and add it to a model.

A folder has `adapter_config.json` and `adapter_model.safetensors`. For a linear y = W x, the adapter gives
y = W x + B (A x) * scaling, where A [rank, in] and B [out, rank] are small float matrices. W stays ternary: it is
never merged with B A.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.check import check_finite, check_shape
from bitnet_tt.checkpoint.config_files import read_json
from bitnet_tt.checkpoint.floats import to_float32
from bitnet_tt.checkpoint.names import layer_prefix, linear_path
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats import safetensors
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.weights import LowRank, ModelWeights

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""PEFT's names are those of the model below this."""

_REQUIRED: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": (None, "none"),
    # Other initialisations change the weights of the model that the adapter belongs to.
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),
}
"""Fields of adapter_config.json and the values that this code computes."""

_USED = frozenset(["lora_alpha", "alpha_pattern", "use_rslora", *_REQUIRED])
_HARMLESS = frozenset(
    [
        "auto_mapping",
        "base_model_name_or_path",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    ]
)
"""Fields that change nothing when a model runs: the tensors say what is adapted, and with which rank."""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter on disk whose headers are read and checked.

    Attributes:
        path: The folder.
        weights: The file with the matrices.
        layers: For each layer, the names of the linears that it changes, with the tensors A and B and the scaling.
    """

    path: Path
    weights: Path
    layers: tuple[Mapping[str, tuple[StoredTensor, StoredTensor, float]], ...]

    @classmethod
    def open(cls, path: Path, config: ModelConfig, canonical: Callable[[str], str]) -> Self:
        """Read the config and the headers of an adapter.

        Args:
            path: The folder.
            config: The shape of the model that it belongs to.
            canonical: Returns the canonical name of a tensor of the model.

        Raises:
            CheckpointError: The folder has no adapter of PEFT, a damaged one, one of another kind, or one of another
                model; the message names the field or the tensor.
            ConfigError: adapter_config.json is not a JSON object.
        """
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (path / name).is_file():
                raise CheckpointError(
                    f"{path} has no {name}; give the folder that PEFT's save_pretrained wrote, or a downloaded one"
                )
        settings = read_json(path / CONFIG_FILE, dict)
        for name, value in settings.items():
            known = name in _USED or name in _HARMLESS or not value
            if not known or value not in _REQUIRED.get(name, (value,)):
                raise CheckpointError(
                    f"{path / CONFIG_FILE}: {name} is {value!r}, which is not supported; use a plain LoRA"
                )
        tensors = safetensors.read_file(path / WEIGHTS_FILE)
        names = {
            f"{layer_prefix(layer)}{linear_path(linear)}": (layer, linear)
            for layer in range(config.num_hidden_layers)
            for linear in config.linear_shapes
        }
        pairs: dict[str, dict[str, StoredTensor]] = {}
        for name, tensor in tensors.items():
            module, _, half = name.removeprefix(_PREFIX).rpartition(".lora_")
            module = canonical(module + ".weight").removesuffix(".weight")
            if module not in names or half not in ("A.weight", "B.weight"):
                raise tensor.error(
                    "is not a LoRA matrix of a linear of this model's layers; check that the adapter belongs to this "
                    "model, and that it adapts nothing else"
                )
            pairs.setdefault(module, {})[half[0]] = tensor
        layers: list[dict[str, tuple[StoredTensor, StoredTensor, float]]] = [
            {} for _ in range(config.num_hidden_layers)
        ]
        for module, pair in pairs.items():
            layer, linear = names[module]
            if len(pair) == 1:
                (tensor,) = pair.values()
                missing = "A" if "B" in pair else "B"
                raise tensor.error(f"has no lora_{missing} beside it; download the adapter again")
            a, b = pair["A"], pair["B"]
            out_features, in_features = config.linear_shapes[linear]
            rank = a.shape[0] if a.shape else 0
            check_shape(a, (max(rank, 1), in_features))
            check_shape(b, (out_features, rank))
            layers[layer][linear] = (a, b, _scaling(path / CONFIG_FILE, settings, module, rank))
        if not pairs:
            raise CheckpointError(f"{path / WEIGHTS_FILE} holds no matrices; download the adapter again")
        return cls(path, path / WEIGHTS_FILE, tuple(layers))

    def add_to(self, weights: ModelWeights) -> ModelWeights:
        """Return the weights of a model with this adapter. Nothing is copied but the matrices of the adapter.

        Raises:
            CheckpointError: A matrix holds NaN or infinity.
        """
        layers = (
            replace(layer, adapters={name: _low_rank(*parts) for name, parts in parts_of.items()})
            for layer, parts_of in zip(weights.layers, self.layers, strict=True)
        )
        return replace(weights, layers=tuple(layers))


def _low_rank(a: StoredTensor, b: StoredTensor, scaling: float) -> LowRank:
    def floats(tensor: StoredTensor) -> NDArray[np.float32]:
        values = to_float32(tensor)
        check_finite(tensor, values)
        return values

    return LowRank(floats(a), np.ascontiguousarray(floats(b).T), np.float32(scaling))


def _scaling(where: Path, settings: Mapping[str, Any], module: str, rank: int) -> float:
    """Return lora_alpha / rank of a module, or lora_alpha / sqrt(rank) (arXiv 2312.03732)."""
    alpha = settings.get("lora_alpha")
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{where}: alpha_pattern is {patterns!r}; it must be an object")
    for pattern, special in patterns.items():
        if re.fullmatch(r"[\w.]+", pattern) is None:
            raise CheckpointError(
                f"{where}: alpha_pattern has {pattern!r}; only names of modules are supported, not regular expressions"
            )
        if f".{module}".endswith(f".{pattern}"):
            alpha = special
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise CheckpointError(f"{where}: lora_alpha is {alpha!r}; it must be a number")
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
