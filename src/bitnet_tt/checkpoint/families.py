"""The families of models that we read: how each is recognised, and how its files differ from the canonical form.

The canonical form is that of microsoft/bitnet-b1.58-2B-4T. To add a family, add an entry to `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bitnet_tt.config import HiddenAct
from bitnet_tt.errors import CheckpointError

_MASTER_WEIGHTS = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of checkpoints.

    Attributes:
        name: Its name in `Checkpoint.family`.
        models: Published models of the family, for error messages.
        model_type: `bitnet` (layers with sub-norms) or `llama` (without). It replaces the one in config.json.
        hidden_act: The activation if config.json gives none, and always in GGUF.
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
        defaults = {"hidden_act": self.hidden_act, "quantization_config": _MASTER_WEIGHTS}
        return {**defaults, **given, "model_type": self.model_type}


FAMILIES = (
    # 1bitLLM's reproductions of BitNet b1.58: SiLU, sub-norms under other names, master weights in float32.
    # Some of their config.json files have the model_type `llama`. Only the names of the sub-norms tell them from Llama.
    Family(
        name="1bitllm",
        models="1bitLLM/bitnet_b1_58-large, -xl and -3B",
        model_type="bitnet",
        hidden_act="silu",
        marker=".inner_attn_ln.",
        renames={".inner_attn_ln.": ".attn_sub_norm.", ".ffn_layernorm.": ".ffn_sub_norm."},
        gguf_architecture="bitnet",
    ),
    # Microsoft's BitNet b1.58: squared ReLU and sub-norms.
    Family(
        name="bitnet",
        models="microsoft/bitnet-b1.58-2B-4T, -bf16 and -gguf",
        model_type="bitnet",
        hidden_act="relu2",
        gguf_architecture="bitnet-b1.58",
        gguf_aliases=("bitnet-25",),
    ),
    # Ternary models of the Llama architecture: SiLU, no sub-norms, and often a scale to divide by.
    Family(
        name="llama",
        models="Llama-style ternary (tiiuae Falcon-E and Falcon3-1.58bit, HF1BitLLM/Llama3-8B-1.58)",
        model_type="llama",
        hidden_act="silu",
        gguf_architecture="llama",
        gguf_rotary_pairs=True,
    ),
)
"""All families. One with a marker comes before those that only `model_type` identifies: the first match counts."""


def detect(where: str, data: Mapping[str, Any], names: Collection[str]) -> Family:
    """Recognise the family of a safetensors checkpoint.

    Args:
        where: The checkpoint, for error messages.
        data: Its config.json.
        names: Its tensor names, as the files have them.

    Raises:
        CheckpointError: No family matches, or it is a Llama without ternary weights. The message lists the families.
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
    """Recognise the family of a GGUF file.

    Args:
        where: The file, for error messages.
        architecture: Its `general.architecture`; None if the file has none.

    Raises:
        CheckpointError: No family matches. The message lists the families.
    """
    for family in FAMILIES:
        if architecture in (family.gguf_architecture, *family.gguf_aliases):
            return family
    raise CheckpointError(f"{where} has architecture {architecture!r}, which is not supported. {_supported()}")


def _supported() -> str:
    return f"Supported: {'; '.join(family.models for family in FAMILIES)}"
