"""Models of the Qwen3 architecture load under their published names, from safetensors and from GGUF."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors import safe_open

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.packing import unpack
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.config import LINEAR_NAMES, ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.rope_settings import YarnScaling
from bitnet_tt.weights import ModelWeights, bfloat16_to_float32
from tests import golden_checkpoints as golden
from tests.checkpoint import small
from tests.checkpoint.small_gguf import TYPES
from tests.checkpoint.test_convert import assert_equal, same_model

EMBEDDING, YARN = golden.FOLDER / "qwen3-embedding", golden.FOLDER / "qwen3-packed-yarn"

GGUF_LINEARS = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
"""The names in the files of bitnet.cpp's converter, given independently of the package."""


def load(folder: Path) -> tuple[ModelConfig, ModelWeights]:
    checkpoint = Checkpoint.open(folder)
    return checkpoint.config, checkpoint.load_weights()


def test_bitnet_embedding_has_a_norm_before_each_linear() -> None:
    config, weights = load(EMBEDDING)
    assert (config.quantization.use_rms_norm, config.quantization.quantization_mode) == (True, "online")
    assert (config.head_dim, config.query_features, config.tie_word_embeddings) == (64, 256, True)
    with safe_open(EMBEDDING / "model.safetensors", "np") as file:
        assert {"embed_tokens.weight", "layers.0.self_attn.q_proj.norm.weight"} < set(file.keys())
        assert len(file.keys()) == 2 + config.num_hidden_layers * (4 + 2 * len(LINEAR_NAMES))
    for layer in weights.layers:
        assert layer.q_norm is not None
        assert layer.q_norm.shape == (64,)
        norms = [layer.linear(name).input_norm for name in LINEAR_NAMES]
        assert all(norm is not None and 0.5 <= norm.min() < norm.max() <= 1.5 for norm in norms)


def test_packed_qwen3_with_yarn() -> None:
    config, weights = load(YARN)
    assert config.rope_scaling == YarnScaling(4.0, 256, 1.1386294361119891)
    assert weights.lm_head is not weights.embed_tokens
    assert weights.layers[0].q_proj.input_norm is None


def write_gguf(path: Path, config: ModelConfig, weights: ModelWeights, **changes: Any) -> Path:
    """Write a file as bitnet.cpp's converter of embedding models does, but with TQ2_0 in place of I2_S.

    Norms are float16. The package `gguf` writes it. `changes` are more settings of the architecture.
    """
    writer = gguf.GGUFWriter(path, "qwen3")
    for key, value in {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "rope.dimension_count": config.head_dim,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
    }.items():
        writer.add_uint32(f"qwen3.{key}", value)
    writer.add_float32("qwen3.rope.freq_base", config.rope_theta)
    writer.add_float32("qwen3.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    for key, value in changes.items():
        add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}[type(value)]
        add(f"qwen3.{key}", value)

    def add_norm(name: str, gain: np.ndarray | None) -> None:
        if gain is not None:
            writer.add_tensor(f"{name}.weight", gain.astype(np.float16))

    writer.add_tensor("token_embd.weight", bfloat16_to_float32(weights.embed_tokens).astype(np.float16))
    if not config.tie_word_embeddings:
        writer.add_tensor("output.weight", bfloat16_to_float32(weights.lm_head).astype(np.float16))
    add_norm("output_norm", weights.norm)
    for index, layer in enumerate(weights.layers):
        block = f"blk.{index}"
        add_norm(f"{block}.attn_norm", layer.input_layernorm)
        add_norm(f"{block}.ffn_norm", layer.post_attention_layernorm)
        add_norm(f"{block}.attn_q_norm", layer.q_norm)
        add_norm(f"{block}.attn_k_norm", layer.k_norm)
        for name, stem in GGUF_LINEARS.items():
            matrix = layer.linear(name)
            values = unpack(matrix.packed).astype(np.float32) - 1
            blocks = gguf.quants.quantize(values, TYPES["TQ2_0"])
            writer.add_tensor(f"{block}.{stem}.weight", blocks, raw_dtype=TYPES["TQ2_0"])
            add_norm(f"{block}.{stem}_norm_in", matrix.input_norm)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def wide(folder: Path) -> tuple[ModelConfig, ModelWeights]:
    """Return a golden model with random weights of 256 columns, which TQ2_0 needs."""
    config = dataclasses.replace(load(folder)[0], hidden_size=256, intermediate_size=256)
    return config, random_qwen3(config)


def random_qwen3(config: ModelConfig) -> ModelWeights:
    from tests.backends.cpu.random_models import random_model

    model = random_model(config)

    def rounded(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values.astype(np.float16).astype(np.float32)

    layers = []
    for layer in model.layers:
        norms = {name: rounded(getattr(layer, name)) for name in config.norm_sizes}
        linears = {
            name: dataclasses.replace(
                layer.linear(name), scale=np.float32(1), input_norm=rounded(layer.linear(name).input_norm)
            )
            for name in LINEAR_NAMES
        }
        layers.append(dataclasses.replace(layer, **norms, **linears))
    return dataclasses.replace(model, layers=tuple(layers), norm=rounded(model.norm))


@pytest.mark.parametrize("folder", [EMBEDDING, YARN], ids=lambda folder: folder.name)
def test_files_of_the_converter(tmp_path: Path, folder: Path) -> None:
    config, weights = wide(folder)
    scaling: dict[str, Any] = {}
    if config.rope_scaling is not None:
        scaling = {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 256,
        }
    checkpoint = Checkpoint.open(write_gguf(tmp_path / "model.gguf", config, weights, **scaling))
    assert checkpoint.family == "qwen3"
    assert checkpoint.config.quantization.use_rms_norm == config.quantization.use_rms_norm
    assert checkpoint.config.rope_scaling == config.rope_scaling
    copy = checkpoint.load_weights()
    assert_equal(config, weights_without_rounding(weights, copy), copy)


def weights_without_rounding(weights: ModelWeights, copy: ModelWeights) -> ModelWeights:
    """Return the weights with the embeddings of the file: float16 cannot hold the smallest bfloat16 numbers."""
    for one, other in ((weights.embed_tokens, copy.embed_tokens), (weights.lm_head, copy.lm_head)):
        np.testing.assert_allclose(bfloat16_to_float32(one), bfloat16_to_float32(other), atol=1e-7)
    return dataclasses.replace(weights, embed_tokens=copy.embed_tokens, lm_head=copy.lm_head)


@pytest.mark.parametrize("name", ["qwen3-embedding", "qwen3-packed-yarn", "llama-packed-linear"])
def test_to_gguf_and_back(tmp_path: Path, name: str) -> None:
    config, weights = load(golden.FOLDER / name)
    save_gguf(config, weights, tmp_path / "model.gguf", tokenizer_metadata={"tokenizer.ggml.bos_token_id": 1})
    copy = Checkpoint.open(tmp_path / "model.gguf")
    assert same_model(dataclasses.replace(config, rms_norm_eps=copy.config.rms_norm_eps), copy.config)
    assert copy.config.rms_norm_eps == pytest.approx(config.rms_norm_eps)  # GGUF has float32
    assert copy.config.quantization.use_rms_norm == config.quantization.use_rms_norm
    assert_equal(config, weights, copy.load_weights())


def test_what_gguf_cannot_say_is_refused(tmp_path: Path) -> None:
    def refuses(config: ModelConfig, weights: ModelWeights, message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            save_gguf(config, weights, tmp_path / "model.gguf", tokenizer_metadata={})

    refuses(*load(golden.FOLDER / "llama-packed-llama3"), "no keys for 'llama3' rotary positions; write packed")
    config, weights = load(YARN)
    assert isinstance(config.rope_scaling, YarnScaling)
    scaling = dataclasses.replace(config.rope_scaling, attention_factor=1.0)
    refuses(dataclasses.replace(config, rope_scaling=scaling), weights, "no keys for the attention_factor")
    config, weights = load(EMBEDDING)
    refuses(dataclasses.replace(config, rms_norm_eps=1e-5), weights, "one epsilon for all norms: rms_norm_eps is 1e-05")


def test_gemma_s_embedding_model_is_refused_by_its_type(tmp_path: Path) -> None:
    stored = small.masters()
    stored["model.layers.0.self_attn.q_proj.norm.weight"] = small.bfloat16((small.HIDDEN,))
    folder = small.write_folder(tmp_path, stored, model_type="gemma3_text", quantization_config=None)
    with pytest.raises(CheckpointError, match=r"model_type 'gemma3_text', which is not supported\. .*embedding-0\.6b"):
        Checkpoint.open(folder)
