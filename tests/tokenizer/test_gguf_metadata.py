"""A tokenizer written as GGUF metadata and read back is the same, and damaged metadata is refused."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import Tokenizer, bpe
from bitnet_tt.tokenizer.gguf import from_metadata
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from tests.tokenizer.small_tokenizers import TRICKY, texts, train_engine

KINDS = ["byte_level", "sentencepiece_tokenizer"]


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, Tokenizer]:
    tokenizer: Tokenizer = request.getfixturevalue(request.param)
    return tokenizer, from_metadata(to_metadata(tokenizer, tokenizer.vocab_size + 5))


@given(text=texts)
def test_round_trip_encodes_the_same(pair: tuple[Tokenizer, Tokenizer], text: str) -> None:
    tokenizer, reloaded = pair
    assert reloaded.encode(text) == tokenizer.encode(text)
    assert reloaded.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_round_trip_keeps_special_tokens_and_templates(pair: tuple[Tokenizer, Tokenizer]) -> None:
    tokenizer, reloaded = pair
    for name in ("bos_token", "eos_tokens", "add_bos", "chat_templates", "special_ids"):
        assert getattr(reloaded, name) == getattr(tokenizer, name)
    assert reloaded.vocab_size == tokenizer.vocab_size + 5
    assert reloaded.engine.encode("a").ids == tokenizer.encode("a")


def test_metadata_of_a_byte_level_tokenizer(byte_level: Tokenizer) -> None:
    metadata = to_metadata(byte_level, 500)
    assert metadata["tokenizer.ggml.model"] == "gpt2"
    assert metadata["tokenizer.ggml.pre"] == "llama-bpe"
    assert metadata["tokenizer.ggml.tokens"][-1] == "[PAD499]"
    assert metadata["tokenizer.ggml.token_type"][byte_level.bos_token_id or 0] == 3
    assert metadata["tokenizer.chat_template"] == byte_level.chat_templates["default"]


def test_bitnet_cpp_files_of_2b4t_name_no_pre_tokenizer(byte_level: Tokenizer) -> None:
    metadata = to_metadata(byte_level, 500)
    del metadata["tokenizer.ggml.pre"], metadata["tokenizer.ggml.add_bos_token"]
    reloaded = from_metadata(metadata)
    assert [reloaded.encode(text) for text in TRICKY] == [byte_level.encode(text) for text in TRICKY]


@pytest.mark.parametrize("name", ["gpt-2", "qwen2", "default", "llama3", "falcon3"])
def test_other_pre_tokenizers_are_read(byte_level: Tokenizer, name: str) -> None:
    tokenizer = from_metadata(to_metadata(byte_level, 500) | {"tokenizer.ggml.pre": name})
    for text in TRICKY:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_gpt2_pre_tokenizer_is_named() -> None:
    tokenizer = Tokenizer(train_engine(bpe.GPT2_PATTERN), bos_token=None, eos_tokens=[], chat_templates={})
    metadata = to_metadata(tokenizer, 500)
    assert metadata["tokenizer.ggml.pre"] == "gpt-2"
    assert "tokenizer.ggml.bos_token_id" not in metadata


def test_a_tokenizer_without_a_gguf_name_is_stored_as_a_whole_file() -> None:
    engine = train_engine(r"\w{1,3}")
    tokenizer = Tokenizer(engine, bos_token=None, eos_tokens=[], chat_templates={})
    metadata = to_metadata(tokenizer, 500)
    assert metadata["tokenizer.ggml.pre"] == "default"
    reloaded = from_metadata(metadata)
    assert [reloaded.encode(text) for text in TRICKY] == [tokenizer.encode(text) for text in TRICKY]
    with pytest.raises(TokenizerError, match=r"tokenizer\.huggingface\.json is not a tokenizer"):
        from_metadata(metadata | {"tokenizer.huggingface.json": "{"})


def test_ids_past_the_models_vocabulary_are_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="past the model's vocabulary of 300"):
        to_metadata(byte_level, 300)


def test_a_separate_end_of_turn_token_ends_texts(byte_level: Tokenizer) -> None:
    metadata = to_metadata(byte_level, 500) | {"tokenizer.ggml.eot_token_id": 7}
    assert 7 in from_metadata(metadata).eos_token_ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "bert"}, "'bert'"),
        ({"model": None}, "None"),
        ({"tokens": None}, "tokens is missing"),
        ({"tokens": [1, 2]}, "must hold strings"),
        ({"merges": None}, "merges is missing"),
        ({"merges": ["ab"]}, "not two tokens"),
        ({"merges": ["nothing here"]}, "merges do not fit"),
        ({"token_type": [1]}, "differ in length"),
        ({"pre": "poro-chat"}, "'poro-chat'; known: llama-bpe"),
        ({"bos_token_id": 10**6}, "bos_token_id is 1000000"),
        ({"eos_token_id": "x"}, "damaged"),
        ({"token_type": ["x"]}, "damaged"),
        ({"model": "llama", "scores": [1.0]}, "scores and tokens differ"),
    ],
)
def test_damaged_metadata_is_refused(byte_level: Tokenizer, change: dict[str, Any], message: str) -> None:
    metadata = to_metadata(byte_level, 500) | {f"tokenizer.ggml.{name}": value for name, value in change.items()}
    with pytest.raises(TokenizerError, match=message):
        from_metadata(metadata)


@given(data=st.data())
def test_metadata_of_wrong_types_raise_no_other_error(byte_level: Tokenizer, data: st.DataObject) -> None:
    metadata = to_metadata(byte_level, 500)
    values = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(-5, 5), max_size=3))
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(metadata)), values, min_size=1, max_size=3))
    with contextlib.suppress(TokenizerError):
        from_metadata(metadata | changes)
