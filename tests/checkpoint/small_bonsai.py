"""Write small Ternary-Bonsai checkpoints in every published form, byte by byte, without the code under test."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.checkpoint.small import linear_path, safetensors_bytes
from tests.formats.gguf_bytes import header, tensor_entry, text

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 256, 384, 2, 4, 2, 128
VOCAB = 203  # like 151,669: no multiple of 4 or 16

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "eos_token_id": 2,
    "head_dim": HEAD_DIM,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": 512,
    "max_window_layers": LAYERS,
    "model_type": "qwen3",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 128, "rope_type": "yarn"},
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCAB,
}
"""As in the config.json of Qwen3-8B, with small sizes."""

SHAPES = {
    "q_proj": (HEADS * HEAD_DIM, HIDDEN),
    "k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "o_proj": (HIDDEN, HEADS * HEAD_DIM),
    "gate_proj": (INTERMEDIATE, HIDDEN),
    "up_proj": (INTERMEDIATE, HIDDEN),
    "down_proj": (HIDDEN, INTERMEDIATE),
}
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
KINDS = {"Q2_0": (42, 64), "Q2_0 in blocks of 128": (42, 128), "PQ2_0": (142, 128)}
"""Type id and columns of a block."""


@dataclass
class Ternary:
    """The values int8 [out, in] of a matrix, and its scales float16 [out, groups]."""

    values: NDArray[np.int8]
    scales: NDArray[np.float16]

    def floats(self) -> NDArray[np.float16]:
        group = self.values.shape[1] // self.scales.shape[1]
        return self.values.astype(np.float16) * np.repeat(self.scales, group, axis=1)


Tensors = dict[str, Ternary | NDArray[np.float32]]


def tensors(group: int, seed: int = 0, vocab: int = VOCAB) -> Tensors:
    """Every tensor by its name in safetensors files."""
    rng = np.random.default_rng(seed)

    def ternary(rows: int, columns: int, size: float = 1.0) -> Ternary:
        values = rng.choice([-1, 0, 1], (rows, columns), p=[0.31, 0.38, 0.31]).astype(np.int8)
        scales = size * rng.uniform(0.5, 2.0, (rows, columns // group)) / np.sqrt(columns)
        return Ternary(values, scales.astype(np.float16))

    def norm(size: int) -> NDArray[np.float32]:
        return rng.uniform(0.5, 1.5, size).astype(np.float16).astype(np.float32)

    result: Tensors = {"model.embed_tokens.weight": ternary(vocab, HIDDEN, 8.0)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, size in (("input_layernorm", HIDDEN), ("post_attention_layernorm", HIDDEN)):
            result[f"{prefix}{name}.weight"] = norm(size)
        for name in ("q_norm", "k_norm"):
            result[f"{prefix}self_attn.{name}.weight"] = norm(HEAD_DIM)
        for name, shape in SHAPES.items():
            result[f"{prefix}{linear_path(name)}.weight"] = ternary(*shape)
    result["model.norm.weight"] = norm(HIDDEN)
    result["lm_head.weight"] = ternary(vocab, HIDDEN)
    return result


def write_unpacked(folder: Path, stored: Tensors, **changes: Any) -> Path:
    """Write a folder like prism-ml/Ternary-Bonsai-8B-unpacked: everything in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    arrays = {
        name: ("F16", value.floats() if isinstance(value, Ternary) else value.astype(np.float16))
        for name, value in stored.items()
    }
    (folder / "model.safetensors").write_bytes(safetensors_bytes(arrays))
    return folder


def blocks(matrix: Ternary) -> bytes:
    """The blocks of a matrix: a scale, then four columns a byte, lowest bits first."""
    group = matrix.values.shape[1] // matrix.scales.shape[1]
    codes = (matrix.values + 1).astype(np.uint8).reshape(-1, group // 4, 4)
    packed = codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6
    scales = matrix.scales.reshape(-1, 1).view(np.uint8)
    return np.concatenate([scales, packed], axis=1).tobytes()


def write_gguf(
    path: Path,
    stored: Tensors,
    kind: str,
    *,
    other_kinds: Mapping[str, str] | None = None,
    architecture: str = "qwen3",
    **metadata: Any,
) -> Path:
    """Write a GGUF file as Prism ML's converter does.

    `other_kinds` gives tensors of another kind than `kind`, by their names here: F16, or a key of `KINDS`.
    """
    settings = {
        "context_length": 512,
        "embedding_length": HIDDEN,
        "block_count": LAYERS,
        "feed_forward_length": INTERMEDIATE,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.key_length": HEAD_DIM,
        "attention.value_length": HEAD_DIM,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 128,
    }
    pairs: dict[str, Any] = {f"{architecture}.{key}": value for key, value in settings.items()}
    pairs |= {"general.architecture": architecture, "tokenizer.ggml.eos_token_id": 2} | metadata
    entries, data = b"", b""
    for name, value in stored.items():
        if isinstance(value, Ternary):
            chosen = (other_kinds or {}).get(name, kind)
            kind_id, content = (1, value.floats().tobytes()) if chosen == "F16" else (KINDS[chosen][0], blocks(value))
            dims = value.values.shape[::-1]
        else:
            kind_id, content, dims = 0, value.tobytes(), value.shape
        entries += tensor_entry(gguf_name(name).encode(), dims, kind_id, len(data))
        data += content + bytes(-len(content) % 32)
    start = header(len(stored), len(pairs), b"".join(_pair(*pair) for pair in pairs.items()) + entries)
    path.write_bytes(start + bytes(-len(start) % 32) + data)
    return path


def gguf_name(name: str) -> str:
    path = name.removesuffix(".weight")
    if path in GGUF_NAMES:
        return GGUF_NAMES[path] + ".weight"
    _, _, layer, rest = path.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest]}.weight"


def _pair(key: str, value: Any) -> bytes:
    if isinstance(value, str):
        content = struct.pack("<I", 8) + text(value.encode())
    elif isinstance(value, float):
        content = struct.pack("<If", 6, value)
    else:
        content = struct.pack("<II", 4, value)
    return text(key.encode()) + content
