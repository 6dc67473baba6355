"""The model families that we read, and how a checkpoint's family is recognised.

To add a family, describe it in a file here and add it to `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bitnet_tt.checkpoint.families.bitnet import BITNET
from bitnet_tt.checkpoint.families.bitnet_embedding import BITNET_EMBEDDING
from bitnet_tt.checkpoint.families.family import HOW_TO_ANNOUNCE_MASTERS, Family
from bitnet_tt.checkpoint.families.llama import LLAMA
from bitnet_tt.checkpoint.families.one_bit_llm import ONE_BIT_LLM
from bitnet_tt.checkpoint.families.qwen3 import QWEN3
from bitnet_tt.checkpoint.families.ternary_bonsai import TERNARY_BONSAI
from bitnet_tt.errors import CheckpointError

__all__ = ["FAMILIES", "TERNARY_BONSAI", "Family", "detect", "detect_gguf", "named"]

FAMILIES = (ONE_BIT_LLM, BITNET_EMBEDDING, BITNET, LLAMA, QWEN3)
"""The families that `model_type` and tensor names tell apart. One with a marker comes before those that only
`model_type` identifies: the first match counts. `TERNARY_BONSAI` is told by its weights, see `checkpoint.grouped`."""


def detect(where: str, data: Mapping[str, Any], names: Collection[str]) -> Family:
    """Recognise the family of a safetensors checkpoint.

    Args:
        where: The checkpoint, for error messages.
        data: Its config.json.
        names: Its tensor names, as the files have them.

    Raises:
        CheckpointError: No family matches, or it is an ordinary model without ternary weights. The message lists the
            families.
    """
    model_type = data.get("model_type")
    for family in FAMILIES:
        if family.marker:
            if family.marked_type in (model_type, "") and any(family.marker in name for name in names):
                return family
        elif family.model_type == model_type:
            if family.quantization is None and not data.get("quantization_config"):
                raise CheckpointError(
                    f"{where} is an ordinary {family.name.capitalize()}: its config.json has no quantization_config "
                    f"with quant_method bitnet. If it was trained with BitNet's quantisation, its weights are master "
                    f"weights: {HOW_TO_ANNOUNCE_MASTERS}. {_supported()}"
                )
            return family
    raise CheckpointError(f"{where} has model_type {model_type!r}, which is not supported. {_supported()}")


def detect_gguf(where: str, architecture: object, hidden_act: object = None) -> Family:
    """Recognise the family of a GGUF file.

    Args:
        where: The file, for error messages.
        architecture: Its `general.architecture`; None if the file has none.
        hidden_act: The activation that it gives, which tells families of one architecture apart; None if it gives none.

    Raises:
        CheckpointError: No family matches. The message lists the families.
    """
    families = [family for family in FAMILIES if family.gguf_architecture is not None]
    found = [family for family in families if architecture in (family.gguf_architecture, *family.gguf_aliases)]
    for family in found:
        if family.hidden_act == hidden_act:
            return family
    if found:
        return found[0]
    raise CheckpointError(f"{where} has architecture {architecture!r}, which is not supported. {_supported()}")


def named(name: str) -> Family:
    """Return the family with this name."""
    return next(family for family in (*FAMILIES, TERNARY_BONSAI) if family.name == name)


def _supported() -> str:
    return f"Supported: {'; '.join(family.models for family in (*FAMILIES, TERNARY_BONSAI))}"
