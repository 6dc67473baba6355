"""Family: the differences between one kind of checkpoint and microsoft/bitnet-b1.58-2B-4T.

The tensor names of that model are the canonical names here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bitnet_tt.config import HiddenAct

MASTER_WEIGHTS = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
"""The quantization_config of master weights."""

HOW_TO_ANNOUNCE_MASTERS = "convert it with `bitnet-tt convert --masters`, or load it with masters=True"
"""What users do if config.json does not say that the weights are master weights, for error messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of checkpoints.

    Attributes:
        name: Its name in `Checkpoint.family`.
        models: Published models of the family, for error messages.
        model_type: `bitnet` (layers with sub-norms) or `llama` (without). It replaces the one in config.json.
        hidden_act: The activation if config.json or the GGUF metadata give none.
        defaults: Other fields of config.json that have the defaults of transformers' class for the family, where
            these are not those of `ModelConfig`.
        marker: A part of a tensor name that only this family has; "" if the family is recognised by `model_type`.
        renames: Parts of the tensor names in the file, and the canonical ones that replace them.
        gguf_architecture: The `general.architecture` that we write.
        gguf_aliases: Other values of `general.architecture` that we read.
        gguf_rotary_pairs: Whether GGUF files interleave the rows of q and k (see `packing`).
    """

    name: str
    models: str
    model_type: str
    hidden_act: HiddenAct
    defaults: Mapping[str, Any] = field(default_factory=dict)
    marker: str = ""
    renames: Mapping[str, str] = field(default_factory=dict)
    gguf_architecture: str
    gguf_aliases: tuple[str, ...] = ()
    gguf_rotary_pairs: bool = False

    def canonical(self, name: str) -> str:
        """Return the canonical name of a tensor of this family's safetensors files."""
        for part, canonical in self.renames.items():
            name = name.replace(part, canonical)
        return name

    def complete(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of config.json with this family's defaults.

        Without a quantization_config, the weights are master weights.
        """
        given = {name: value for name, value in data.items() if value is not None}
        defaults = {"hidden_act": self.hidden_act, "quantization_config": MASTER_WEIGHTS}
        return {**defaults, **self.defaults, **given, "model_type": self.model_type}
