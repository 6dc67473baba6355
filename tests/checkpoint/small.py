"""Write small checkpoints byte by byte, without the code under test, so that each can be wrong in one known way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.packing import pack
from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import float32_to_bfloat16

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 256, 512, 2, 4, 2, 64, 64
OFFLINE = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
ONLINE = OFFLINE | {"quantization_mode": "online"}

Tensors = dict[str, tuple[str, NDArray[Any]]]


def config(**changes: Any) -> dict[str, Any]:
    """A config.json like that of 2B4T."""
    return {
        "model_type": "bitnet",
        "architectures": ["BitNetForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_bitnet.Evil"},
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCAB,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "relu2",
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "quantization_config": OFFLINE,
    } | changes


def linear_path(name: str) -> str:
    """The path of a linear within its layer, given independently of the package."""
    return ("self_attn." if name in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp.") + name


LINEARS = {linear_path(name): shape for name, shape in ModelConfig.from_dict(config()).linear_shapes.items()}
"""Shape [out, in] of each linear of a layer, by its path within the layer."""


def random_codes(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Codes 0, 1 and 2; 58 % of them are not 1 (weight 0)."""
    return np.random.default_rng(seed).choice(3, shape, p=(0.29, 0.42, 0.29)).astype(np.uint8)


def bfloat16(shape: tuple[int, ...], seed: int = 0, around: float = 0.0) -> tuple[str, NDArray[Any]]:
    """Random bfloat16 values, none too small for float16."""
    values = np.random.default_rng(seed).uniform(0.25, 1.0, shape).astype(np.float32) + np.float32(around)
    return "BF16", float32_to_bfloat16(values)


def tensors(*, sub_norms: bool = True, divide: bool = False, vocab: int = VOCAB) -> Tensors:
    """The tensors of a packed checkpoint under their Hugging Face names."""
    result: Tensors = {"model.embed_tokens.weight": bfloat16((vocab, HIDDEN)), "model.norm.weight": bfloat16((HIDDEN,))}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        result[prefix + "input_layernorm.weight"] = bfloat16((HIDDEN,), layer, 0.5)
        result[prefix + "post_attention_layernorm.weight"] = bfloat16((HIDDEN,), layer + 10, 0.5)
        if sub_norms:
            result[prefix + "self_attn.attn_sub_norm.weight"] = bfloat16((HIDDEN,), layer + 20, 0.5)
            result[prefix + "mlp.ffn_sub_norm.weight"] = bfloat16((INTERMEDIATE,), layer + 30, 0.5)
        for index, (name, shape) in enumerate(LINEARS.items()):
            seed = 100 * layer + index
            scale = bfloat16((1,), seed, 7.0 if divide else 0.0)
            result[prefix + name + ".weight"] = ("U8", pack(random_codes(shape, seed)))
            result[prefix + name + ".weight_scale"] = scale
    return result


def masters(dtype: str = "BF16") -> Tensors:
    """The tensors of a checkpoint with master weights."""
    result = {name: value for name, value in tensors().items() if not name.endswith("weight_scale")}
    for name, (kind, array) in result.items():
        if kind == "U8":
            shape = (array.shape[0] * 4, array.shape[1])
            values = np.random.default_rng(len(name)).normal(0, 0.05, shape).astype(np.float32)
            result[name] = ("BF16", float32_to_bfloat16(values)) if dtype == "BF16" else ("F32", values)
    return result


def safetensors_bytes(stored: Mapping[str, tuple[str, NDArray[Any]]], **header_changes: Any) -> bytes:
    """A safetensors file; `header_changes` replace or add entries of its header."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, (dtype, array) in stored.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header | header_changes).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def write_folder(
    folder: Path, stored: Mapping[str, tuple[str, NDArray[Any]]] | None = None, **config_changes: Any
) -> Path:
    """Write a Hugging Face folder: by default a correct packed checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(**config_changes)))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors() if stored is None else stored))
    return folder
