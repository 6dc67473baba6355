"""The model families: how each is recognised, and where its config and tensor names differ from Hugging Face's BitNet.

To add a family, add an entry to `FAMILIES`. Canonical names are those of microsoft/bitnet-b1.58-2B-4T.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bitnet_tt.config import HiddenAct
from bitnet_tt.errors import CheckpointError

_MASTER_WEIGHTS = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}


@dataclass(frozen=True, slots=True)
class Family:
    """One family of checkpoints.

    Attributes:
        name: What `Checkpoint.family` says.
        models: Published models of the family, for people.
        model_type: `bitnet` (with sub-norms) or `llama` (without), whatever config.json calls it.
        hidden_act: The activation where config.json is silent, and always in GGUF.
        marker: A part of a tensor name by which the family is recognised; "" to go by `model_type`.
        gguf_architecture: `general.architecture` that `convert` writes.
        gguf_aliases: Further ones that are read.
        gguf_rotary_pairs: Whether GGUF interleaves the two halves of each rotary pair of q and k rows.
        renames: Parts of the file's tensor names, and what they are called canonically.
    """

    name: str
    models: str
    model_type: str
    hidden_act: HiddenAct
    marker: str = ""
    gguf_architecture: str = ""
    gguf_aliases: tuple[str, ...] = ()
    gguf_rotary_pairs: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)

    def canonical(self, name: str) -> str:
        """The canonical name of one of this family's tensors."""
        for part, canonical in self.renames.items():
            name = name.replace(part, canonical)
        return name

    def complete(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A config.json with what this family takes for granted filled in: without a word on it, master weights."""
        given = {name: value for name, value in data.items() if value is not None}
        defaults = {"hidden_act": self.hidden_act, "quantization_config": _MASTER_WEIGHTS}
        return {**defaults, **given, "model_type": self.model_type}


FAMILIES = (
    Family(
        name="1bitllm",
        models="1bitLLM/bitnet_b1_58-large, -xl and -3B",
        model_type="bitnet",
        hidden_act="silu",
        marker=".inner_attn_ln.",
        gguf_architecture="bitnet",
        renames={".inner_attn_ln.": ".attn_sub_norm.", ".ffn_layernorm.": ".ffn_sub_norm."},
    ),
    Family(
        name="bitnet",
        models="microsoft/bitnet-b1.58-2B-4T, -bf16 and -gguf",
        model_type="bitnet",
        hidden_act="relu2",
        gguf_architecture="bitnet-b1.58",
        gguf_aliases=("bitnet-25",),
    ),
    Family(
        name="llama",
        models="Llama-style ternary (tiiuae Falcon-E and Falcon3-1.58bit, HF1BitLLM/Llama3-8B-1.58)",
        model_type="llama",
        hidden_act="silu",
        gguf_architecture="llama",
        gguf_rotary_pairs=True,
    ),
)


def detect(where: str, data: Mapping[str, Any], names: Collection[str]) -> Family:
    """Recognise the family of a safetensors checkpoint from its config.json and tensor names.

    Raises:
        CheckpointError: It is none of the families, or not a BitNet model at all; the message lists them.
    """
    model_type = data.get("model_type")
    for family in FAMILIES:
        if family.marker:
            if any(family.marker in name for name in names):
                return family
        elif family.model_type == model_type:
            if model_type == "llama" and not data.get("quantization_config"):
                raise CheckpointError(
                    f"{where} is an ordinary Llama: its config.json has no quantization_config with quant_method "
                    f"bitnet. {_supported()}"
                )
            return family
    raise CheckpointError(f"{where} has model_type {model_type!r}, which is not supported. {_supported()}")


def detect_gguf(where: str, architecture: object) -> Family:
    """Recognise the family of a GGUF file from its `general.architecture`.

    Raises:
        CheckpointError: It is none of the families; the message lists them.
    """
    for family in FAMILIES:
        if architecture in (family.gguf_architecture, *family.gguf_aliases):
            return family
    raise CheckpointError(f"{where} has architecture {architecture!r}, which is not supported. {_supported()}")


def _supported() -> str:
    return f"Supported: {'; '.join(family.models for family in FAMILIES)}"
