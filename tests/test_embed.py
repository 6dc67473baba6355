"""Embeddings equal those of transformers, and each text has the same bits alone and in any batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.backends.cpu.backend import available_isas
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine
from bitnet_tt.errors import ConfigError, DeviceError, RequestError
from tests import golden_checkpoints as golden
from tests.embedding_model import END_ID, write_embedding_model

TEXTS = ["What is BitNet?", "The capital of France is Paris", "", "a" * 300, "The capital of France is Rome"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedding_model(tmp_path_factory.mktemp("embedding") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained(folder, max_batch_size=3) as loaded:
        yield loaded


def test_every_beginning_of_a_text_has_the_embedding_of_transformers(model: BitNetModel) -> None:
    """Cosine at least 0.9995. `embeddings` has the last-token pooling of each beginning, as attention is causal."""
    expected = golden.expected("qwen3-embedding")
    for ids, vectors in zip(expected["input_ids"], expected["embeddings"], strict=True):
        found = model.embed([ids[: end + 1].tolist() for end in range(len(ids))])
        assert found.shape == vectors.shape
        cosines = (found * vectors).sum(axis=-1)
        assert cosines.min() >= 0.9995, cosines.min()


def test_embeddings_have_length_1_and_are_the_same_alone(model: BitNetModel) -> None:
    together = model.embed(TEXTS)
    assert together.dtype == np.float32
    assert together.shape == (len(TEXTS), 128)
    np.testing.assert_allclose(np.linalg.norm(together, axis=-1), 1, rtol=1e-6)
    for text, vector in zip(TEXTS, together, strict=True):
        alone = model.embed(text)
        assert alone.shape == (128,)
        np.testing.assert_array_equal(alone, vector)
    assert model.embed([]).shape == (0, 128)


@pytest.mark.parametrize("isa", available_isas())
def test_all_instruction_sets_and_threads_give_the_same_bits(folder: Path, model: BitNetModel, isa: str) -> None:
    with BitNetModel.from_pretrained(folder, isa=isa, threads=1, max_batch_size=1) as other:
        np.testing.assert_array_equal(other.embed(TEXTS), model.embed(TEXTS))


def test_the_end_of_text_token_is_read_last(model: BitNetModel) -> None:
    ids = model.tokenizer.encode("What is BitNet?", add_bos=False)
    np.testing.assert_array_equal(model.embed([*ids, END_ID]), model.embed("What is BitNet?"))
    assert not np.array_equal(model.embed(ids), model.embed("What is BitNet?"))


def test_texts_are_embedded_beside_texts_that_are_generated(model: BitNetModel) -> None:
    config = GenerationConfig(max_new_tokens=30, ignore_eos=True)
    expected = model.generate("The fox", config)
    vectors = model.embed(TEXTS)

    async def both() -> tuple[str, list[np.ndarray]]:
        engine = AsyncEngine(model.engine)
        stream = engine.stream(model.tokenizer.encode("The fox"), config)
        embedded = [asyncio.ensure_future(engine.embed(model.tokenizer.encode(text))) for text in TEXTS]
        text = "".join([piece.text async for piece in stream])
        return text, [await one for one in embedded]

    text, embedded = asyncio.run(both())
    assert text == expected
    np.testing.assert_array_equal(embedded, vectors)


def test_mistakes_are_named(folder: Path, model: BitNetModel) -> None:
    with pytest.raises(RequestError, match="outside the vocabulary"):
        model.embed([1, 600])
    with pytest.raises(RequestError, match="the prompt has 1025 tokens"):
        model.embed([5] * 1025)
    assert model.embed([5] * 1024).shape == (128,)
    with pytest.raises(RequestError, match="not int"):
        model.embed(5)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=r"embedding model.*device='cpu'"):
        BitNetModel.from_pretrained(folder, device="tt")
    with BitNetModel.from_pretrained("demo") as demo, pytest.raises(ConfigError, match=r"embeddings of texts; use an"):
        demo.embed("text")


def test_the_converted_model_has_the_same_embeddings(folder: Path, model: BitNetModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "packed")
    modules = json.loads((tmp_path / "packed/modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    with BitNetModel.from_pretrained(tmp_path / "packed") as packed:
        np.testing.assert_array_equal(packed.embed(TEXTS), model.embed(TEXTS))
