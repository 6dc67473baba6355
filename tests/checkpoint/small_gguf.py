"""Write small GGUF files with ggml's own Python package, and by hand what that package cannot write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.checkpoint.packing import unpack
from bitnet_tt.weights import bfloat16_to_float32
from tests.checkpoint import small

TYPES = gguf.GGMLQuantizationType
METADATA = {
    "vocab_size": small.VOCAB,
    "context_length": 128,
    "embedding_length": small.HIDDEN,
    "block_count": small.LAYERS,
    "feed_forward_length": small.INTERMEDIATE,
    "rope.dimension_count": small.HEAD_DIM,
    "attention.head_count": small.HEADS,
    "attention.head_count_kv": small.KV_HEADS,
}
TOKENIZER: Mapping[str, Any] = {
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.eot_token_id": 9,
    "tokenizer.ggml.tokens": [f"token{i}" for i in range(small.VOCAB)],
}


def permute(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Put the rows of rotary pairs side by side, as llama.cpp's converter does with q and k of Llama models."""
    result = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            result[head * size + 2 * i] = rows[head * size + i]
            result[head * size + 2 * i + 1] = rows[head * size + size // 2 + i]
    return result


def write_with_gguf_package(
    path: Path,
    linear: str = "TQ2_0",
    embedding: str = "F16",
    architecture: str = "bitnet-b1.58",
    scale: float = 0.5,
    extra: dict[str, NDArray[np.float32]] | None = None,
    head: str = "F32",
    split_max_tensors: int = 0,
    vocab: int = small.VOCAB,
    tokenizer: Mapping[str, Any] | None = None,
) -> Path:
    """Write the checkpoint of `small.tensors()` as the package quantises it, with `scale` for all weight scales.

    `extra` are more tensors, of type `head`. With `split_max_tensors`, the package splits the file. `tokenizer` is the
    metadata of a tokenizer; without it, the file has only tokens.
    """
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split_max_tensors)
    for key, value in (METADATA | {"vocab_size": vocab}).items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{architecture}.rope.freq_base", 500000.0)
    for key, value in (tokenizer or TOKENIZER).items():
        item = value[0] if isinstance(value, list) else value
        writer.add_key_value(key, value, _value_type(value), _value_type(item) if item is not value else None)
    llama = architecture == "llama"
    for name, (dtype, array) in small.tensors(sub_norms=not llama, vocab=vocab).items():
        if dtype == "U8":
            codes = unpack(array)
            if llama and name.endswith(("q_proj.weight", "k_proj.weight")):
                codes = permute(codes, len(codes) // small.HEAD_DIM)
            _add(writer, gguf_name(name), (codes.astype(np.float32) - 1) * np.float32(scale), linear)
        elif not name.endswith("weight_scale"):
            values = bfloat16_to_float32(array)
            _add(writer, gguf_name(name), values, embedding if values.ndim == 2 else "F32")
    for name, values in (extra or {}).items():
        _add(writer, name, values, head)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _value_type(value: Any) -> gguf.GGUFValueType:
    kinds = gguf.GGUFValueType
    return {bool: kinds.BOOL, int: kinds.INT32, float: kinds.FLOAT32, str: kinds.STRING, list: kinds.ARRAY}[type(value)]


def _add(writer: gguf.GGUFWriter, name: str, values: NDArray[np.float32], dtype: str) -> None:
    if dtype.endswith("_K"):  # the package cannot write it
        writer.add_tensor(name, k_blocks(dtype, values.shape), raw_dtype=TYPES[dtype])
        return
    data = values if dtype == "F32" else gguf.quants.quantize(values, TYPES[dtype])
    writer.add_tensor(name, data, raw_dtype=TYPES[dtype])


def k_blocks(dtype: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Random blocks of one of ggml's types for 256 values, with finite float16 steps."""
    values, size = gguf.GGML_QUANT_SIZES[TYPES[dtype]]
    blocks = np.random.default_rng(5).integers(0, 256, (shape[0], shape[1] // values, size), np.uint8)
    first = dtype in ("Q4_K", "Q5_K")  # these have their steps first, the others last
    blocks[:, :, slice(0, 4) if first else slice(-4 if dtype == "Q2_K" else -2, None)] = 0x1C  # 0x1C1C is about 0.004
    return blocks.reshape(shape[0], -1)
