"""What a GGUF file's metadata and tensor names mean, in the words of config.json and of the Hugging Face names.

Also its ternary tensors as canonical packed bytes and one scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.families import Family
from bitnet_tt.checkpoint.packing import TQ_BLOCK, i2_s_to_packed, pack, tq1_0_to_codes, tq2_0_to_codes, unpack
from bitnet_tt.formats.gguf import GGUF, I2_S_TAIL_BYTES
from bitnet_tt.formats.tensor import StoredTensor

TERNARY_TYPES = ("I2_S", "TQ1_0", "TQ2_0")

MODEL_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.down_proj": "ffn_down",
}
"""Canonical names to GGUF's: of the model, and within layer N (`model.layers.N.` to `blk.N.`)."""

_FROM_MODEL_NAMES = {gguf: canonical for canonical, gguf in MODEL_NAMES.items()}
_FROM_LAYER_NAMES = {gguf: canonical for canonical, gguf in LAYER_NAMES.items()}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def config_dict(file: GGUF, family: Family) -> dict[str, Any]:
    """The fields of a config.json, for `ModelConfig.from_dict` to check; what the file lacks is None."""
    metadata, tensors = file.metadata, file.tensors
    architecture = metadata["general.architecture"]

    def get(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    embedding = tensors.get("token_embd.weight")
    data = {
        "model_type": family.model_type,
        "hidden_act": family.hidden_act,
        "vocab_size": embedding.shape[0] if embedding is not None else get("vocab_size"),
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv"),
        "head_dim": get("attention.key_length"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "rope_theta": get("rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": _eos_token_ids(metadata),
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
    }
    scaling = get("rope.scaling.type")
    if scaling not in (None, "none"):
        data["rope_scaling"] = {"rope_type": scaling}
    return {name: value for name, value in data.items() if value is not None}


def canonical_tensors(file: GGUF) -> dict[str, StoredTensor]:
    """The file's tensors under canonical names; one that has none keeps its own.

    Raises:
        CheckpointError: A linear's weights are not ternary.
    """
    tensors = {}
    for name, tensor in file.tensors.items():
        canonical = _canonical(name)
        if canonical.endswith("_proj.weight") and tensor.dtype not in TERNARY_TYPES:
            raise tensor.error(
                f"has type {tensor.dtype} where ternary weights are due ({', '.join(TERNARY_TYPES)}); download the "
                "I2_S file of this model, or its safetensors"
            )
        tensors[canonical] = tensor
    return tensors


def read_ternary(tensor: StoredTensor) -> tuple[NDArray[np.uint8], np.float32]:
    """Decode an I2_S, TQ1_0 or TQ2_0 tensor [out, in].

    I2_S files of some ARM builds (blocks of 64) and of some x86 builds (four rows to a byte) have the same type id and
    size as ordinary ones and cannot be told apart; microsoft publishes ordinary ones.

    Returns:
        uint8 [out / 4, in], packed as in `TernaryMatrix`, and the scale to multiply with.

    Raises:
        CheckpointError: The blocks of the tensor have different scales, so it is no BitNet tensor.
    """
    stored = tensor.raw()
    if tensor.dtype == "I2_S":
        scale = stored[-I2_S_TAIL_BYTES:][:4].copy().view(np.float32)[0]
        packed = i2_s_to_packed(stored[:-I2_S_TAIL_BYTES], tensor.shape[1])
    else:
        packed, scale = _read_blocks(tensor, stored)
    tensor.release()
    return packed, scale


def unpair_rotary_rows(packed: NDArray[np.uint8], heads: int) -> NDArray[np.uint8]:
    """Put q or k rows in Hugging Face's order (first halves, then second halves of a head's rotary pairs).

    llama.cpp's `llama` architecture keeps the two rows of a pair next to each other; `bitnet` ones don't.
    """
    codes = unpack(packed)
    return pack(codes.reshape(heads, -1, 2, codes.shape[1]).swapaxes(1, 2).reshape(codes.shape))


def pair_rotary_rows(packed: NDArray[np.uint8], heads: int) -> NDArray[np.uint8]:
    """Undo `unpair_rotary_rows`."""
    codes = unpack(packed)
    return pack(codes.reshape(heads, 2, -1, codes.shape[1]).swapaxes(1, 2).reshape(codes.shape))


def gguf_name(canonical: str) -> str:
    """What GGUF calls a tensor or linear, such as `model.layers.3.self_attn.q_proj`: `blk.3.attn_q.weight`."""
    if canonical in MODEL_NAMES:
        return MODEL_NAMES[canonical]
    _, _, layer, rest = canonical.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def _canonical(name: str) -> str:
    match = _LAYER_TENSOR.fullmatch(name)
    if match and match[2] in _FROM_LAYER_NAMES:
        return f"model.layers.{match[1]}.{_FROM_LAYER_NAMES[match[2]]}.weight"
    return _FROM_MODEL_NAMES.get(name, name)


def _eos_token_ids(metadata: Mapping[str, Any]) -> list[Any] | None:
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return [metadata[key] for key in keys if key in metadata] or None


def _read_blocks(tensor: StoredTensor, stored: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], np.float32]:
    """Decode a type whose every block of 256 has a scale: all must be one, but for blocks of zeros with scale 0."""
    blocks = stored.reshape(tensor.shape[0] * tensor.shape[1] // TQ_BLOCK, -1)
    scales = np.ascontiguousarray(blocks[:, -2:]).view(np.float16)[:, 0]
    to_codes = tq1_0_to_codes if tensor.dtype == "TQ1_0" else tq2_0_to_codes
    codes = to_codes(blocks[:, :-2])
    used = scales[scales != 0]
    if (used != used[:1]).any() or (codes[scales == 0] != 1).any():
        raise tensor.error("has blocks with different scales, so it is no BitNet tensor; download an I2_S file")
    return pack(codes.reshape(tensor.shape)), np.float32(used[0] if used.size else 0)
