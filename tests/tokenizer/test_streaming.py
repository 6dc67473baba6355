"""Streamed pieces hold only whole characters, and joined they are what decode returns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as Engine

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import StreamDecoder, Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from tests.tokenizer.small_tokenizers import from_metadata, texts, train_engine

KINDS = ["byte_level", "sentencepiece_tokenizer"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


def pieces_of(tokenizer: Tokenizer, ids: list[int], *, continues: bool = False) -> list[str]:
    decoder = StreamDecoder(tokenizer, continues=continues)
    return [*map(decoder.push, ids), decoder.flush()]


@given(text=texts.filter(lambda text: "▁" not in text))
def test_pieces_of_encoded_text_join_to_it_without_half_characters(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, parse_special=False)
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == text
    assert pieces[-1] == ""
    assert tokenizer.decode(ids) == tokenizer.engine.decode(ids) == text


@given(data=st.data())
def test_pieces_of_any_ids_join_to_their_decoding(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(-1, tokenizer.vocab_size + 2), max_size=30))
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


@given(data=st.data())
def test_any_byte_level_ids_decode_as_the_library_decodes_them(byte_level: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, byte_level.vocab_size - 1), max_size=30))
    skip = data.draw(st.booleans())
    assert byte_level.decode(ids, skip_special_tokens=skip) == byte_level.engine.decode(ids, skip_special_tokens=skip)


def test_an_emoji_comes_with_its_last_token(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🦊", add_bos=False)
    assert len(ids) > 2
    pieces = pieces_of(tokenizer, ids)
    assert [piece for piece in pieces if piece] == ["🦊"]


def test_an_unfinished_character_becomes_a_replacement_character_at_the_end(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("ok 🦊", add_bos=False)
    assert pieces_of(byte_level, ids[:-1])[-1] == "\ufffd"


def test_a_continuation_keeps_sentencepieces_leading_space(sentencepiece_tokenizer: Tokenizer) -> None:
    ids = sentencepiece_tokenizer.encode("time", add_bos=False)
    assert "".join(pieces_of(sentencepiece_tokenizer, ids)) == sentencepiece_tokenizer.decode(ids) == "time"
    assert "".join(pieces_of(sentencepiece_tokenizer, ids, continues=True)) == " time"
    assert sentencepiece_tokenizer.decode(ids, continues=True) == " time"


def test_special_tokens_are_shown_on_request(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("hi<|eot_id|>")
    assert byte_level.decode(ids) == "hi"
    assert byte_level.decode(ids, skip_special_tokens=False) == "<|begin_of_text|>hi<|eot_id|>"


def test_added_tokens_decode_to_their_own_text() -> None:
    engine = train_engine()
    engine.add_tokens([AddedToken("<tool call>", normalized=False), AddedToken("火", normalized=False)])
    tokenizer = Tokenizer(engine, bos_token=None, eos_tokens=[], chat_templates={})
    ids = tokenizer.encode("a <tool call>火b")
    assert ids[-3:-1] == [engine.token_to_id("<tool call>"), engine.token_to_id("火")]
    assert tokenizer.decode(ids) == engine.decode(ids) == "a <tool call>火b"
    reloaded = from_metadata(to_metadata(tokenizer, tokenizer.vocab_size))
    assert (reloaded.encode("a <tool call>火b"), reloaded.special_ids) == (ids, tokenizer.special_ids)


def test_other_decoders_are_refused() -> None:
    engine = Engine(models.WordLevel({"a": 0}, unk_token="a"))
    for decoder, name in ((None, "none"), (decoders.WordPiece(), "WordPiece")):
        if decoder is not None:
            engine.decoder = decoder
        with pytest.raises(TokenizerError, match=name):
            Tokenizer(engine, bos_token=None, eos_tokens=[], chat_templates={})
