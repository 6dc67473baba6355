"""A converted checkpoint has bit for bit the codes and scales of its source, and other tools can read it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors

from bitnet_tt.checkpoint import Checkpoint, save_packed
from bitnet_tt.checkpoint.convert import Format, convert
from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import BitNetError, CheckpointError
from bitnet_tt.formats.gguf import read
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.weights import ModelWeights, TernaryMatrix
from tests import golden_checkpoints as golden
from tests.checkpoint import small
from tests.tokenizer.small_tokenizers import SPECIALS, TEMPLATE, train_engine

VOCAB = 512


def assert_equal(config: ModelConfig, first: ModelWeights, second: ModelWeights) -> None:
    pairs = zip(named_weights(config, first), named_weights(config, second), strict=True)
    for (name, one), (other_name, other) in pairs:
        assert name == other_name
        if isinstance(one, TernaryMatrix):
            assert isinstance(other, TernaryMatrix)
            assert one.scale == other.scale, name
            np.testing.assert_array_equal(one.input_norm, other.input_norm, err_msg=name)
            one, other = one.packed, other.packed
        np.testing.assert_array_equal(one, other, err_msg=name)


def same_model(config: ModelConfig, other: ModelConfig) -> bool:
    """Whether two configurations are equal, apart from how the weights are stored."""
    return dataclasses.replace(config, quantization=other.quantization) == other


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed checkpoint with a tokenizer."""
    folder = tmp_path_factory.mktemp("convert") / "source"
    small.write_folder(folder, small.tensors(vocab=VOCAB), vocab_size=VOCAB, bos_token_id=400, eos_token_id=401)
    (folder / "generation_config.json").write_text('{"eos_token_id": [401, 402]}')
    (folder / "modeling_bitnet.py").write_text("raise SystemExit")
    tokenizer = Tokenizer(
        train_engine(), bos_token=SPECIALS[0], eos_tokens=[SPECIALS[1]],
        chat_templates={"default": TEMPLATE},
    )  # fmt: skip
    tokenizer.save(folder)
    return folder


def with_tokenizer_of(source: Path, folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


def test_packed_to_gguf_to_packed(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "model.gguf", "gguf-i2s") == []
    assert convert(tmp_path / "model.gguf", tmp_path / "back", "packed") == []
    original = Checkpoint.open(source)
    weights = original.load_weights()
    for path in (tmp_path / "model.gguf", tmp_path / "back"):
        copy = Checkpoint.open(path)
        assert (copy.family, copy.config.eos_token_ids) == ("bitnet", (401, 402))
        assert same_model(original.config, copy.config)
        assert_equal(original.config, weights, copy.load_weights())
        for text in ("The fox can't swim: 1234 naïve 🙂", ""):
            assert Tokenizer.from_path(path).encode(text) == Tokenizer.from_path(source).encode(text)
        assert Tokenizer.from_path(path).chat_templates == {"default": TEMPLATE}
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", golden.NAMES)
def test_golden_to_packed(name: str, tmp_path: Path) -> None:
    original = Checkpoint.open(golden.FOLDER / name)
    convert(golden.FOLDER / name, tmp_path / "packed", "packed")
    copy = Checkpoint.open(tmp_path / "packed")
    assert copy.family == original.family.replace("bitnet-embedding", "qwen3")  # the names are those of Qwen3
    assert same_model(original.config, copy.config)
    assert_equal(original.config, original.load_weights(), copy.load_weights())


def test_llama_style_to_gguf_and_back(source: Path, tmp_path: Path) -> None:
    """GGUF stores the rows of q and k in another order; reading restores it. The lm_head is untied."""
    stored = small.tensors(sub_norms=False, divide=True, vocab=VOCAB)
    stored["lm_head.weight"] = small.bfloat16((VOCAB, small.HIDDEN), seed=5)
    changes = {"model_type": "llama", "hidden_act": "silu", "quantization_config": {"quant_method": "bitnet"}}
    folder = small.write_folder(tmp_path / "llama", stored, vocab_size=VOCAB, tie_word_embeddings=False, **changes)
    original = Checkpoint.open(with_tokenizer_of(source, folder))
    convert(folder, tmp_path / "llama.gguf", "gguf-i2s")
    copy = Checkpoint.open(tmp_path / "llama.gguf")
    assert (copy.family, copy.config.tie_word_embeddings) == ("llama", False)
    assert_equal(original.config, original.load_weights(), copy.load_weights())


def test_1bitllm_masters_to_gguf(source: Path, tmp_path: Path) -> None:
    stored = small.masters("F32")
    stored["model.embed_tokens.weight"] = small.bfloat16((VOCAB, small.HIDDEN))
    for name in list(stored):
        renamed = name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm")
        stored[renamed] = stored.pop(name)
    folder = small.write_folder(
        tmp_path / "1bit", stored, vocab_size=VOCAB, model_type="llama", hidden_act="silu", quantization_config=None
    )
    original = Checkpoint.open(with_tokenizer_of(source, folder))
    convert(folder, tmp_path / "1bit.gguf", "gguf-i2s")
    convert(folder, tmp_path / "packed", "packed")
    for path, family in ((tmp_path / "1bit.gguf", "1bitllm"), (tmp_path / "packed", "bitnet")):
        copy = Checkpoint.open(path)
        assert (copy.family, copy.config.hidden_act) == (family, "silu")
        assert_equal(original.config, original.load_weights(), copy.load_weights())


@pytest.mark.parametrize(("value", "dtype"), [(0x3F80, "F16"), (0x7F00, "BF16"), (0x0080, "BF16")])
def test_gguf_embedding_is_float16_only_if_exact(source: Path, tmp_path: Path, value: int, dtype: str) -> None:
    stored = small.tensors(vocab=VOCAB)
    stored["model.embed_tokens.weight"][1][-1, -1] = value
    folder = with_tokenizer_of(source, small.write_folder(tmp_path / "source", stored, vocab_size=VOCAB))
    convert(folder, tmp_path / "x.gguf", "gguf-i2s")
    copy = Checkpoint.open(tmp_path / "x.gguf")
    assert read(tmp_path / "x.gguf").tensors["token_embd.weight"].dtype == dtype
    assert_equal(copy.config, Checkpoint.open(folder).load_weights(), copy.load_weights())


def test_other_tools_read_what_we_write(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "packed", "packed")
    data = (tmp_path / "packed" / "model.safetensors").read_bytes()
    stored = dict(safetensors.deserialize(data))
    assert stored["model.layers.0.mlp.up_proj.weight"]["dtype"] == "U8"
    assert stored["model.layers.0.mlp.up_proj.weight"]["shape"] == [128, 256]
    assert stored["model.embed_tokens.weight"]["dtype"] == "BF16"
    assert (8 + int.from_bytes(data[:8], "little")) % 64 == 0
    written = json.loads((tmp_path / "packed" / "config.json").read_text())
    assert written["architectures"] == ["BitNetForCausalLM"]
    assert written["quantization_config"]["linear_class"] == "autobitlinear"
    assert "auto_map" not in written


def test_linears_with_norms_of_their_own(source: Path, tmp_path: Path) -> None:
    norms = {
        f"model.layers.{layer}.{name}.rms_norm.weight": small.bfloat16(shape[1:])
        for layer in range(small.LAYERS)
        for name, shape in small.LINEARS.items()
    }
    quantization = small.OFFLINE | {"use_rms_norm": True, "rms_norm_eps": 1e-4}
    stored = small.tensors(vocab=VOCAB) | norms
    folder = small.write_folder(tmp_path / "source", stored, vocab_size=VOCAB, quantization_config=quantization)
    convert(folder, tmp_path / "packed", "packed")
    copy = Checkpoint.open(tmp_path / "packed")
    assert copy.config == Checkpoint.open(folder).config
    assert copy.load_weights().layers[1].up_proj.input_norm is not None
    with pytest.raises(CheckpointError, match=r"no GGUF architecture .* write packed safetensors"):
        convert(with_tokenizer_of(source, folder), tmp_path / "x.gguf", "gguf-i2s")


def test_the_name_of_a_gguf_file_may_be_in_capitals(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "MODEL.GGUF", "gguf-i2s")
    convert(tmp_path / "MODEL.GGUF", tmp_path / "back", "packed")
    assert Checkpoint.open(tmp_path / "back").config.vocab_size == VOCAB


def test_a_folder_may_have_the_name_of_a_gguf_file(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "folder.gguf", "packed")
    assert Tokenizer.from_path(tmp_path / "folder.gguf").chat_templates == {"default": TEMPLATE}
    assert Checkpoint.open(tmp_path / "folder.gguf").format == "safetensors"


def test_i2_s_needs_whole_blocks(tmp_path: Path) -> None:
    original = Checkpoint.open(small.write_folder(tmp_path / "source"))
    weights = original.load_weights()
    narrow = TernaryMatrix(weights.layers[0].q_proj.packed[:, :192], weights.layers[0].q_proj.scale)
    layer = dataclasses.replace(weights.layers[0], q_proj=narrow)
    with pytest.raises(CheckpointError, match="192 columns, which is not a multiple of 128"):
        save_gguf(
            original.config,
            dataclasses.replace(weights, layers=(layer,)),
            tmp_path / "x.gguf",
            tokenizer_metadata={},
        )


@pytest.mark.parametrize(("to", "name"), [("packed", "packed"), ("gguf-i2s", "x.gguf")])
def test_progress_rises_to_the_end(source: Path, tmp_path: Path, to: Format, name: str) -> None:
    seen: list[tuple[int, int]] = []
    convert(source, tmp_path / name, to, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize(("to", "name"), [("packed", "target"), ("gguf-i2s", "target.gguf")])
def test_targets_are_complete_or_absent(source: Path, tmp_path: Path, to: Format, name: str) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 0.75 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / name, to, interrupt)
    assert list(tmp_path.iterdir()) == []
    convert(source, tmp_path / name, to)
    with pytest.raises(CheckpointError, match="exists already"):
        convert(source, tmp_path / name, to)
    convert(source, tmp_path / name, to, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    Checkpoint.open(tmp_path / name).load_weights()


def test_gguf_needs_a_name_and_a_tokenizer(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must end in \.gguf"):
        convert(source, tmp_path / "model", "gguf-i2s")
    with pytest.raises(BitNetError, match="no tokenizer"):
        convert(golden.FOLDER / "bitnet-packed", tmp_path / "model.gguf", "gguf-i2s")
    assert list(tmp_path.iterdir()) == []


def test_save_packed_without_a_tokenizer(source: Path, tmp_path: Path) -> None:
    original = Checkpoint.open(source)
    save_packed(original.config, original.load_weights(), tmp_path / "packed")
    copy = Checkpoint.open(tmp_path / "packed")
    assert copy.config == original.config
    assert_equal(original.config, original.load_weights(), copy.load_weights())
