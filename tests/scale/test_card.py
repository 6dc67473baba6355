"""A frontend reads a worker's card and tokenizer, whatever files the model came from."""

import json
from pathlib import Path

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.scale.card import ModelCard, tokenizer_from_json, tokenizer_to_json
from bitnet_tt.tokenizer import StreamDecoder, Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from tests.tokenizer.conftest import (  # noqa: F401 (fixtures)
    byte_level,
    sentencepiece_file,
    sentencepiece_tokenizer,
    tiktoken_file,
    tiktoken_ranks,
)
from tests.tokenizer.small_tokenizers import CORPUS, SPECIALS, TEMPLATE, TRICKY, from_metadata

KINDS = ("byte_level", "sentencepiece_tokenizer", "tiktoken_tokenizer", "byte_level_gguf", "sentencepiece_gguf")


@pytest.fixture
def tiktoken_tokenizer(tiktoken_file: Path) -> Tokenizer:  # noqa: F811
    return Tokenizer.from_path(tiktoken_file.parent)


@pytest.fixture
def byte_level_gguf(byte_level: Tokenizer) -> Tokenizer:  # noqa: F811
    return from_metadata(to_metadata(byte_level, byte_level.vocab_size + 5))


@pytest.fixture
def sentencepiece_gguf(sentencepiece_tokenizer: Tokenizer) -> Tokenizer:  # noqa: F811
    return from_metadata(to_metadata(sentencepiece_tokenizer, sentencepiece_tokenizer.vocab_size + 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_special", [False, True])
def test_a_sent_tokenizer_is_the_same(kind, split_special, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    before = tokenizer.engine.encode_special_tokens
    tokenizer.engine.encode_special_tokens = split_special
    try:
        sent = tokenizer_from_json(tokenizer_to_json(tokenizer))
        for text in [*TRICKY, *CORPUS[:4], f"a{SPECIALS[2]}b</s>c"]:
            for parse_special in (True, False):
                ids = tokenizer.encode(text, parse_special=parse_special)
                assert sent.encode(text, parse_special=parse_special) == ids
            old, new = StreamDecoder(tokenizer), StreamDecoder(sent)
            assert [new.push(token_id) for token_id in ids] == [old.push(token_id) for token_id in ids]
        assert sent.engine.encode_special_tokens == split_special
    finally:
        tokenizer.engine.encode_special_tokens = before
    for name in ("bos_token", "eos_tokens", "other_tokens", "add_bos", "chat_templates", "special_ids", "vocab_size"):
        assert getattr(sent, name) == getattr(tokenizer, name)


def test_a_sent_template_gives_the_same_ids(byte_level: Tokenizer) -> None:  # noqa: F811
    sent = tokenizer_from_json(tokenizer_to_json(byte_level))
    messages = [{"role": "user", "content": f"Hi {SPECIALS[2]} there"}]
    assert sent.chat_templates == {"default": TEMPLATE}
    assert sent.apply_chat_template(messages) == byte_level.apply_chat_template(messages)


def test_a_card_describes_what_texts_depend_on(demo) -> None:
    card = ModelCard.of(demo, "my-model", 8)
    assert ModelCard.from_dict(json.loads(json.dumps(card.as_dict()))) == card
    served = card.served_model(demo.tokenizer)
    assert (served.fingerprint, served.context_length) == (card.fingerprint, demo.engine.context_length)
    assert served.eos_token_ids == {*demo.config.eos_token_ids, *demo.tokenizer.eos_token_ids}
    assert card.blocks == demo.engine.stats().blocks
    with BitNetModel.from_pretrained("demo", context_length=64) as short:
        assert ModelCard.of(short, "my-model", 8).pool != card.pool
    with BitNetModel.from_pretrained("demo", isa="scalar", threads=2) as scalar:
        assert ModelCard.of(scalar, "my-model", 8).pool == card.pool
