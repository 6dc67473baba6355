"""The tensor names of GGUF files, to and from canonical names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bitnet_tt.checkpoint import names
from bitnet_tt.checkpoint.gguf_ternary import TERNARY_TYPES
from bitnet_tt.checkpoint.grouped import GROUPED_TYPES
from bitnet_tt.formats.tensor import StoredTensor

_MODEL_NAMES = {
    names.EMBEDDING: "token_embd.weight",
    names.FINAL_NORM: "output_norm.weight",
    names.LM_HEAD: "output.weight",
}
"""GGUF's name of each tensor outside the layers, by canonical name."""

_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.down_proj": "ffn_down",
}
"""GGUF's name of each norm and linear of a layer, by its canonical path within the layer."""

_LAYER_NAMES |= {
    names.input_norm_name(path).removesuffix(".weight"): f"{gguf}_norm_in"
    for path, gguf in _LAYER_NAMES.items()
    if path.endswith("_proj")
}

_CANONICAL_MODEL_NAMES = {gguf: canonical for canonical, gguf in _MODEL_NAMES.items()}
_CANONICAL_LAYER_NAMES = {gguf: canonical for canonical, gguf in _LAYER_NAMES.items()}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def gguf_name(canonical: str) -> str:
    """Return GGUF's name of a tensor, such as `blk.3.attn_q.weight`.

    Args:
        canonical: The tensor's name, or the path of its linear, such as `model.layers.3.self_attn.q_proj`.
    """
    if canonical in _MODEL_NAMES:
        return _MODEL_NAMES[canonical]
    _, _, layer, path = canonical.split(".", 3)
    return f"blk.{layer}.{_LAYER_NAMES[path.removesuffix('.weight')]}.weight"


def canonical_name(name: str) -> str:
    """Return the canonical name of a GGUF tensor, or its own name if it has no canonical one."""
    match = _LAYER_TENSOR.fullmatch(name)
    if match and match[2] in _CANONICAL_LAYER_NAMES:
        return f"{names.layer_prefix(match[1])}{_CANONICAL_LAYER_NAMES[match[2]]}.weight"
    return _CANONICAL_MODEL_NAMES.get(name, name)


def canonical_tensors(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors of a GGUF file by canonical name.

    Raises:
        CheckpointError: The weights of a linear are not ternary.
    """
    result = {}
    for name, tensor in tensors.items():
        canonical = canonical_name(name)
        if canonical.endswith("_proj.weight") and tensor.dtype not in (*TERNARY_TYPES, *GROUPED_TYPES):
            raise tensor.error(
                f"has type {tensor.dtype} instead of a ternary one ({', '.join(TERNARY_TYPES)}, Q2_0, PQ2_0); download "
                "the I2_S, Q2_0 or PQ2_0 file of this model, or its safetensors"
            )
        result[canonical] = tensor
    return result
