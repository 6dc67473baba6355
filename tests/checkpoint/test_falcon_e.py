"""A Falcon-E model in GGUF, as TII publishes it, computes the same logits as its safetensors, with the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitnet_tt.checkpoint.convert import convert
from bitnet_tt.formats.gguf import read
from bitnet_tt.model import BitNetModel
from bitnet_tt.tokenizer import Tokenizer, bpe
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from bitnet_tt.tokenizer.gguf_words import WORD_PATTERNS
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16
from tests.checkpoint import small
from tests.checkpoint.small_gguf import write_with_gguf_package
from tests.tokenizer.small_tokenizers import SPECIALS, TRICKY, train_engine

VOCAB = 512
TEXTS = [text for text in TRICKY if 0 < len(text) < 50] + ["12 + 345 = 357", "don't `stop` at $5!"]


@pytest.fixture(scope="module")
def head() -> np.ndarray[Any, Any]:
    return bfloat16_to_float32(small.bfloat16((VOCAB, small.HIDDEN), 77)[1])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    trained = train_engine(bpe.GPT2_PATTERN)
    vocab = trained.get_vocab(with_added_tokens=False)
    merges = to_metadata(plain(trained), VOCAB)["tokenizer.ggml.merges"]
    pairs = [tuple(merge.split(" ")) for merge in merges]
    engine = bpe.byte_level_engine(vocab, pairs, WORD_PATTERNS["falcon_e"], ignore_merges=False)
    engine.add_special_tokens([token for _, token in sorted(trained.get_added_tokens_decoder().items())])
    return plain(engine, eos_tokens=[SPECIALS[1]])


def plain(engine: Any, eos_tokens: list[str] | None = None) -> Tokenizer:
    return Tokenizer(engine, bos_token=None, eos_tokens=eos_tokens or [], chat_templates={})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, head: np.ndarray[Any, Any]) -> Path:
    """Falcon-E in safetensors: a Llama with an lm_head of its own and scales to divide by."""
    stored = small.tensors(sub_norms=False, divide=True, vocab=VOCAB)
    for name in stored:
        if name.endswith("weight_scale"):
            stored[name] = ("BF16", float32_to_bfloat16(np.array([2], np.float32)))
    stored["lm_head.weight"] = ("BF16", float32_to_bfloat16(head))
    folder = small.write_folder(
        tmp_path_factory.mktemp("falcon-e") / "folder",
        stored,
        model_type="llama",
        architectures=["LlamaForCausalLM"],
        hidden_act="silu",
        vocab_size=VOCAB,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=401,
        quantization_config=small.OFFLINE | {"linear_class": "bitlinear"},
    )
    tokenizer.save(folder)
    return folder


def assert_same(gguf: Path, folder: Path, tokenizer: Tokenizer) -> None:
    with BitNetModel.from_pretrained(folder) as expected, BitNetModel.from_pretrained(gguf) as found:
        assert found.checkpoint.family == "llama"
        assert found.config.hidden_act == "silu"
        assert found.config.eos_token_ids == (401,)
        for text in TEXTS:
            ids = found.tokenizer.encode(text)
            assert ids == tokenizer.encode(text) == expected.tokenizer.encode(text)
            np.testing.assert_array_equal(found.logits(ids), expected.logits(ids))


@pytest.mark.parametrize("name", ["falcon_e", "falcon-e"])
@pytest.mark.parametrize("linear", ["TQ1_0", "TQ2_0"])
def test_a_file_of_ggmls_package(
    tmp_path: Path, folder: Path, tokenizer: Tokenizer, head: np.ndarray[Any, Any], linear: str, name: str
) -> None:
    metadata = to_metadata(tokenizer, VOCAB) | {"tokenizer.ggml.pre": name, "tokenizer.ggml.padding_token_id": 402}
    path = write_with_gguf_package(
        tmp_path / "x.gguf",
        linear,
        architecture="llama",
        vocab=VOCAB,
        tokenizer=metadata,
        extra={"output.weight": head},
        head="F16",
    )
    assert_same(path, folder, tokenizer)


def test_a_file_of_convert(tmp_path: Path, folder: Path, tokenizer: Tokenizer) -> None:
    convert(folder, tmp_path / "x.gguf", "gguf-i2s")
    metadata = read(tmp_path / "x.gguf").metadata
    assert (metadata["general.architecture"], metadata["tokenizer.ggml.pre"]) == ("llama", "falcon_e")
    assert "tokenizer.huggingface.json" not in metadata
    assert_same(tmp_path / "x.gguf", folder, tokenizer)
