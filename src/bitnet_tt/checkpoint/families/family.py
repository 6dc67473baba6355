"""Family: the differences between one kind of checkpoint and microsoft/bitnet-b1.58-2B-4T.

The tensor names of that model are the canonical names here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bitnet_tt.checkpoint.pooling import Pooling
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
        model_type: `bitnet` (layers with sub-norms), `qwen3` (with norms of queries and keys) or `llama` (without
            both). It replaces the one in config.json.
        hidden_act: The activation if config.json or the GGUF metadata give none.
        defaults: Other fields of config.json that have the defaults of transformers' class for the family, where
            these are not those of `ModelConfig`.
        quantization: The quantization_config if config.json has none. None says that an ordinary model, whose weights
            are not ternary, looks the same, so that config.json must have one.
        pooling: The pooling if the folder has no files of sentence-transformers; None for models that write text.
        marker: A part of a tensor name that only this family has; "" if the family is recognised by `model_type`.
        marked_type: The `model_type` in config.json that a checkpoint with the marker must have; "" for any.
        renames: Parts of the tensor names in the file, and the canonical ones that replace them.
        gguf_architecture: The `general.architecture` that we write. None if GGUF files are read and written as those of
            another family.
        gguf_aliases: Other values of `general.architecture` that we read.
        gguf_rotary_pairs: Whether GGUF files interleave the rows of q and k (see `packing`).
        gguf_input_norms: Whether GGUF files can have an RMSNorm before each linear (`use_rms_norm`).
    """

    name: str
    models: str
    model_type: str
    hidden_act: HiddenAct
    defaults: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] | None = field(default_factory=lambda: MASTER_WEIGHTS)
    pooling: Pooling | None = None
    marker: str = ""
    marked_type: str = ""
    renames: Mapping[str, str] = field(default_factory=dict)
    gguf_architecture: str | None
    gguf_aliases: tuple[str, ...] = ()
    gguf_rotary_pairs: bool = False
    gguf_input_norms: bool = False

    def canonical(self, name: str) -> str:
        """Return the canonical name of a tensor of this family's safetensors files."""
        for part, canonical in self.renames.items():
            name = name.replace(part, canonical)
        # transformers saves a model without lm_head by itself, and its names then lack the first part.
        return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"

    def complete(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of config.json with this family's defaults."""
        given = {name: value for name, value in data.items() if value is not None}
        defaults = {"hidden_act": self.hidden_act, "quantization_config": self.quantization}
        return {**defaults, **self.defaults, **given, "model_type": self.model_type}
