"""Fixtures: one small tokenizer of each kind, made once for all tests."""

import base64
import io
from pathlib import Path

import pytest

from bitnet_tt.tokenizer import Tokenizer, bpe
from tests.tokenizer.small_tokenizers import CORPUS, SPECIALS, TEMPLATE, train_engine


@pytest.fixture(scope="session")
def byte_level() -> Tokenizer:
    engine = train_engine()
    bpe.surround(engine, SPECIALS[0], None)
    return Tokenizer(
        engine,
        bos_token=SPECIALS[0],
        eos_tokens=[SPECIALS[1]],
        chat_templates={"default": TEMPLATE},
    )


@pytest.fixture(scope="session")
def sentencepiece_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in CORPUS for line in text.splitlines()]),
        model_writer=model,
        model_type="bpe",
        vocab_size=460,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("sentencepiece") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="session")
def sentencepiece_tokenizer(sentencepiece_file: Path) -> Tokenizer:
    return Tokenizer.from_path(sentencepiece_file.parent)


@pytest.fixture(scope="session")
def tiktoken_ranks() -> dict[bytes, int]:
    engine = train_engine()
    bytes_of = {character: byte for byte, character in bpe.byte_alphabet().items()}
    vocab = engine.get_vocab(with_added_tokens=False)
    return {bytes(bytes_of[c] for c in token): rank for token, rank in sorted(vocab.items(), key=lambda item: item[1])}


@pytest.fixture(scope="session")
def tiktoken_file(tiktoken_ranks: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiktoken") / "tokenizer.model"
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % r for t, r in tiktoken_ranks.items()))
    return path
