"""The file for llama.cpp has our weights, as the `gguf` package and our own reader read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from bitnet_tt import reference
from bitnet_tt.bench.synthetic import synthetic_config, synthetic_weights
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.gguf_ternary import read_ternary
from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.errors import BenchmarkError
from bitnet_tt.formats.gguf import read
from bitnet_tt.weights import GroupedMatrix, bfloat16_to_float32
from tests.bench.small import CONFIG
from tools.compare.peer_model import save_q2_0, save_tq2_0

WEIGHTS = synthetic_weights(CONFIG)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("peer") / "model.gguf"
    save_tq2_0(CONFIG, WEIGHTS, target)
    return target


def test_the_gguf_package_reads_the_weights(file: Path) -> None:
    reader = gguf.GGUFReader(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == 2 + 11 * CONFIG.num_hidden_layers
    down = tensors["blk.1.ffn_down.weight"]
    expected = WEIGHTS.layers[1].down_proj
    values = gguf.dequantize(down.data, down.tensor_type)
    ternary = reference.unpack_ternary(expected.packed).astype(np.float32)
    np.testing.assert_array_equal(values, ternary * np.float32(np.float16(expected.scale)))
    embedding = tensors["token_embd.weight"]
    assert embedding.tensor_type == gguf.GGMLQuantizationType.F16
    np.testing.assert_allclose(embedding.data, bfloat16_to_float32(WEIGHTS.embed_tokens), rtol=1e-3)


def test_the_gguf_package_finds_every_tensor_and_field_that_llama_cpp_needs(file: Path) -> None:
    reader = gguf.GGUFReader(file)
    names = {tensor.name.removesuffix(".weight") for tensor in reader.tensors}
    wanted = {
        gguf.TENSOR_NAMES[kind].format(bid=layer)
        for kind in gguf.MODEL_TENSORS[gguf.MODEL_ARCH.BITNET]
        for layer in range(CONFIG.num_hidden_layers)
    }
    assert names == wanted - {gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS]}
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "bitnet"
    assert fields["bitnet.vocab_size"] == CONFIG.vocab_size
    assert fields["bitnet.attention.head_count_kv"] == CONFIG.num_key_value_heads
    assert fields["bitnet.attention.layer_norm_rms_epsilon"] == pytest.approx(CONFIG.rms_norm_eps)
    assert fields["tokenizer.ggml.model"] == "none"


def test_our_reader_reads_the_same_codes(file: Path) -> None:
    stored = read(file).tensors
    for index, layer in enumerate(WEIGHTS.layers):
        packed, scale = read_ternary(stored[f"blk.{index}.attn_q.weight"])
        np.testing.assert_array_equal(packed, layer.q_proj.packed)
        assert scale == np.float16(layer.q_proj.scale)


def test_group_scales_become_q2_0_with_the_same_weights(tmp_path: Path) -> None:
    """Our own reader finds llama.cpp's type with scales of 64, and each scale of 128 weights twice."""
    config = synthetic_config("bonsai-1.7b,hidden=256,intermediate=512,layers=2,heads=4,kv_heads=2,vocab=64")
    weights = synthetic_weights(config)
    file = tmp_path / "grouped.gguf"
    save_q2_0(config, weights, file)
    assert {tensor.dtype for tensor in read(file).tensors.values()} == {"F32", "Q2_0"}
    stored = dict(named_weights(config, Checkpoint.open(file).load_weights()))
    for name, ours in named_weights(config, weights):
        if isinstance(ours, GroupedMatrix):
            assert (ours.group, stored[name].group) == (128, 64)
            every = slice(None)
            np.testing.assert_array_equal(
                reference.widen_groups(stored[name], every), reference.widen_groups(ours, every)
            )
        else:
            np.testing.assert_array_equal(stored[name], ours)


@pytest.mark.parametrize(
    ("change", "message"), [({"intermediate_size": 520}, "multiples of 256"), ({"head_dim": 128}, "heads are wider")]
)
def test_models_that_llama_cpp_cannot_run_are_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        save_tq2_0(replace(CONFIG, **change), WEIGHTS, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())
