"""Ternary-Bonsai loads under its published names from every published form, exactly, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import BitNetModel, reference
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.backends.options import BackendOptions
from bitnet_tt.backends.select import check_model
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.convert import convert
from bitnet_tt.checkpoint.hub import resolve
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.checkpoint.save_packed import save_packed
from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BitNetError, CheckpointError, ConfigError, DeviceError
from bitnet_tt.reference.compare import CONTRACT, compare_logits
from bitnet_tt.rope_settings import YarnScaling
from bitnet_tt.weights import GroupedMatrix, ModelWeights
from tests.backends.cpu.random_models import logits_of
from tests.checkpoint import small_bonsai as small
from tests.checkpoint.small_bonsai import KINDS, Ternary
from tests.grouped_matrices import grouped_of

QUERY = "model.layers.1.self_attn.q_proj.weight"
PROMPT = np.random.default_rng(1).integers(0, small.VOCAB, 40)


def load(path: Path) -> tuple[ModelConfig, ModelWeights]:
    checkpoint = Checkpoint.open(path)
    assert checkpoint.family == "ternary-bonsai"
    return checkpoint.config, checkpoint.load_weights()


def assert_equal(weights: ModelWeights, tensors: small.Tensors) -> None:
    """Compare every tensor with what was written."""
    found = {"model.embed_tokens": weights.embed_tokens, "lm_head": weights.lm_head}
    for index, layer in enumerate(weights.layers):
        for name in small.SHAPES:
            found[f"model.layers.{index}.{small.linear_path(name)}"] = layer.linear(name)
    for name, value in tensors.items():
        if not isinstance(value, Ternary):
            continue
        matrix = found.pop(name.removesuffix(".weight"))
        assert isinstance(matrix, GroupedMatrix)
        expected = grouped_of(value.values, value.scales)
        assert (matrix.out_features, matrix.in_features) == value.values.shape
        np.testing.assert_array_equal(matrix.blocks, expected.blocks, name)
        values, scales = reference.unpack_groups(matrix)
        np.testing.assert_array_equal(values, value.values)
        np.testing.assert_array_equal(scales, value.scales.astype(np.float32))
    assert not found


@pytest.mark.parametrize("kind", KINDS)
def test_gguf(tmp_path: Path, kind: str) -> None:
    group = KINDS[kind][1]
    tensors = small.tensors(group)
    config, weights = load(small.write_gguf(tmp_path / "x.gguf", tensors, kind))
    assert (config.quantization.group_size, config.vocab_size, config.head_dim) == (group, small.VOCAB, 128)
    assert (config.quantization.ternary_embedding, config.quantization.ternary_head) == (True, True)
    assert config.rope_scaling == YarnScaling(4.0, 128, 1.1386294361119891)
    assert_equal(weights, tensors)


@pytest.mark.parametrize("group", [64, 128])
def test_unpacked_safetensors(tmp_path: Path, group: int) -> None:
    tensors = small.tensors(group)
    config, weights = load(small.write_unpacked(tmp_path / "unpacked", tensors))
    assert config.quantization.group_size == group
    assert_equal(weights, tensors)
    in_gguf = small.write_gguf(tmp_path / "x.gguf", tensors, "Q2_0" if group == 64 else "PQ2_0")
    assert config == load(in_gguf)[0]


def test_tied_embedding(tmp_path: Path) -> None:
    tensors = small.tensors(128)
    del tensors["lm_head.weight"]
    for path in (
        small.write_unpacked(tmp_path / "unpacked", tensors, tie_word_embeddings=True),
        small.write_gguf(tmp_path / "x.gguf", tensors, "PQ2_0"),
    ):
        config, weights = load(path)
        assert weights.lm_head is weights.embed_tokens
        assert config.quantization.ternary_head


@pytest.mark.parametrize("group", [64, 128])
def test_logits_follow_the_reference(tmp_path: Path, group: int) -> None:
    config, weights = load(small.write_unpacked(tmp_path / "unpacked", small.tensors(group)))
    agreement = compare_logits(
        logits_of(CPUBackend(config, weights), PROMPT), reference.forward(config, weights, PROMPT)
    )
    assert agreement.meets(CONTRACT), agreement


def test_quantising_activations_changes_little(tmp_path: Path) -> None:
    """Prints what docs/numerics.md reports: the approximation, on random weights, which amplify it."""
    for group in (64, 128):
        config, weights = load(small.write_unpacked(tmp_path / str(group), small.tensors(group)))
        floats = reference.forward(config, weights, PROMPT, grouped=reference.float_linear)
        agreement = compare_logits(reference.forward(config, weights, PROMPT), floats)
        print(f"groups of {group}: {agreement}")
        assert agreement.correlation > 0.999
        assert agreement.mean_kl < 0.01


def test_an_embedding_in_float16_is_used_as_such(tmp_path: Path) -> None:
    """llama-quantize leaves single tensors in other types."""
    tensors = small.tensors(64)
    path = small.write_gguf(
        tmp_path / "x.gguf", tensors, "Q2_0", other_kinds={"model.embed_tokens.weight": "F16", "lm_head.weight": "F16"}
    )
    config, weights = load(path)
    assert (config.quantization.ternary_embedding, config.quantization.ternary_head) == (False, False)
    assert isinstance(weights.embed_tokens, np.ndarray)
    agreement = compare_logits(
        logits_of(CPUBackend(config, weights), PROMPT), reference.forward(config, weights, PROMPT)
    )
    assert agreement.meets(CONTRACT), agreement


def test_code_3_is_plus_two_exactly(tmp_path: Path) -> None:
    tensors = small.tensors(64)
    query = tensors[QUERY]
    assert isinstance(query, Ternary)
    query.values[5, 7:70] = 2
    checkpoint = Checkpoint.open(small.write_gguf(tmp_path / "x.gguf", tensors, "Q2_0"))
    weights = checkpoint.load_weights()
    assert_equal(weights, tensors)
    assert [note for note in checkpoint.notes if "+2" in note]
    agreement = compare_logits(
        logits_of(CPUBackend(checkpoint.config, weights), PROMPT),
        reference.forward(checkpoint.config, weights, PROMPT),
    )
    assert agreement.meets(CONTRACT), agreement


def test_a_converted_model_is_the_same(tmp_path: Path) -> None:
    for group, kind in ((64, "Q2_0"), (128, "PQ2_0")):
        tensors = small.tensors(group)
        config, weights = load(small.write_unpacked(tmp_path / f"unpacked{group}", tensors))
        path = tmp_path / f"{group}.gguf"
        save_gguf(config, weights, path, tokenizer_metadata={})
        again, saved = load(path)
        assert again == config
        assert_equal(saved, tensors)
        assert small.blocks(tensors[QUERY]) in path.read_bytes()
        assert kind in KINDS


def test_conversion_changes_no_bit_of_a_logit(tmp_path: Path) -> None:
    demo = resolve("demo")
    vocab = Checkpoint.open(demo).config.vocab_size
    folder = small.write_unpacked(tmp_path / "unpacked", small.tensors(128, vocab=vocab), vocab_size=vocab)
    copy_tokenizer(demo, folder)
    convert(folder, tmp_path / "bonsai.gguf", "gguf-q2_0")
    expected = BitNetModel.from_pretrained(folder).logits([5, 6, 7])
    np.testing.assert_array_equal(BitNetModel.from_pretrained(tmp_path / "bonsai.gguf").logits([5, 6, 7]), expected)
    for to in ("packed", "gguf-i2s"):
        with pytest.raises(CheckpointError, match=rf"{to} has one scale for each matrix.*convert it to gguf-q2_0"):
            convert(folder, tmp_path / "other.gguf", to)
    with pytest.raises(CheckpointError, match=r"scales for groups of weights.*convert it to packed or gguf-i2s"):
        convert(demo, tmp_path / "other.gguf", "gguf-q2_0")


def changed(change: Callable[[Ternary], None]) -> small.Tensors:
    tensors = small.tensors(128)
    query = tensors[QUERY]
    assert isinstance(query, Ternary)
    change(query)
    return tensors


def test_floats_that_are_not_ternary_are_refused_by_name(tmp_path: Path) -> None:
    def differ(query: Ternary) -> None:
        query.values[-1, -1] = 2  # one weight of the last group is twice as large

    with pytest.raises(CheckpointError, match=rf"{QUERY} is not ternary: a group of 128 columns"):
        load(small.write_unpacked(tmp_path, changed(differ)))


def test_an_ordinary_qwen3_is_still_refused(tmp_path: Path) -> None:
    tensors = small.tensors(128)
    first = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert isinstance(first, Ternary)
    first.scales = np.ones((first.values.shape[0], first.values.shape[1]), np.float16)
    first.values = np.random.default_rng(0).integers(-100, 100, first.values.shape).astype(np.int8)
    with pytest.raises(CheckpointError, match=r"is an ordinary Qwen3: .*prism-ml/Ternary-Bonsai"):
        Checkpoint.open(small.write_unpacked(tmp_path, tensors))


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_scales_are_finite(tmp_path: Path, scale: float) -> None:
    def damage(query: Ternary) -> None:
        query.scales[-1, -1] = scale

    path = small.write_gguf(tmp_path / "x.gguf", changed(damage), "PQ2_0")
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_q\.weight holds a scale that is NaN or infinite"):
        load(path)


def test_erased_weights_are_refused(tmp_path: Path) -> None:
    def erase(query: Ternary) -> None:
        query.values[:] = 0

    path = small.write_gguf(tmp_path / "x.gguf", changed(erase), "PQ2_0")
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_q\.weight is zero in 100.0% of its weights"):
        load(path)


def test_linears_of_different_kinds_are_refused(tmp_path: Path) -> None:
    tensors = small.tensors(128) | {QUERY: small.tensors(64)[QUERY]}
    path = small.write_gguf(tmp_path / "x.gguf", tensors, "PQ2_0", other_kinds={QUERY: "Q2_0"})
    with pytest.raises(CheckpointError, match=r"tensor blk\.1\.attn_q\.weight has type Q2_0, but tensor .* type PQ2_0"):
        Checkpoint.open(path)


def test_settings_that_change_the_result_are_refused(tmp_path: Path) -> None:
    tensors = small.tensors(128)
    path = small.write_gguf(tmp_path / "x.gguf", tensors, "PQ2_0", **{"prism.hadamard.block_size": 128})
    with pytest.raises(ConfigError, match=r"prism\.hadamard\.block_size is not supported.*Ternary-Bonsai-2"):
        Checkpoint.open(path)
    plain = {name: value for name, value in tensors.items() if "_norm" not in name or "layernorm" in name}
    path = small.write_gguf(tmp_path / "y.gguf", plain, "PQ2_0", architecture="llama")
    with pytest.raises(CheckpointError, match=r"groups of weights in the llama architecture"):
        Checkpoint.open(path)


def test_other_formats_refuse_group_scales(tmp_path: Path) -> None:
    folder = small.write_unpacked(tmp_path / "unpacked", small.tensors(128))
    config, weights = load(folder)
    with pytest.raises(CheckpointError, match="one for each group of 128; write GGUF"):
        save_packed(config, weights, tmp_path / "packed")
    with pytest.raises(CheckpointError, match=r"scale for each group, so this is no master weight"):
        Checkpoint.open(folder, masters=True)


def test_a_card_refuses_group_scales_before_weights_are_loaded(tmp_path: Path) -> None:
    config = Checkpoint.open(small.write_gguf(tmp_path / "x.gguf", small.tensors(64), "Q2_0")).config
    with pytest.raises(DeviceError, match=r"a scale for each group of 64.*use device='cpu'"):
        check_model(config, BackendOptions("tt"), embeds=False, adapted=False)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = small.write_gguf(tmp_path / "x.gguf", small.tensors(128), "PQ2_0")
    whole = path.read_bytes()
    for size in range(100, len(whole) - 32, len(whole) // 40):
        path.write_bytes(whole[:size])
        with pytest.raises(BitNetError, match=str(path)):
            load(path)
