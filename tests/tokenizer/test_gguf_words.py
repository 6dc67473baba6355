"""GGUF files name the way to split text into words. The names mean what llama.cpp and bitnet.cpp mean by them.

A tokenizer that splits in another way keeps its ids all the same, because its whole tokenizer.json is stored too.
"""

from typing import Any

import pytest
from tokenizers import AddedToken, Regex, pre_tokenizers
from tokenizers import Tokenizer as Engine

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import Tokenizer, bpe
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from tests.tokenizer.small_tokenizers import TRICKY, from_metadata, train_engine


@pytest.mark.parametrize("name", ["gpt-2", "qwen2", "default", "llama3", "falcon3", "falcon", "falcon_e", "falcon-e"])
def test_other_pre_tokenizers_are_read(byte_level: Tokenizer, name: str) -> None:
    tokenizer = from_metadata(to_metadata(byte_level, 500) | {"tokenizer.ggml.pre": name})
    for text in TRICKY:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "falcon_e",
            ["it", "'", "s", "Ġ", "``", "a", "`|", "Ġ", "1", "2", "3", "4", ".", "5", "Ġ", "+", "x", "Ġ", "ĠÂ½"],
        ),
        ("falcon", ["it", "'", "s", "Ġ", "``", "a", "`|", "Ġ", "123", "4", ".", "5", "Ġ", "+", "x", "Ġ", "ĠÂ½"]),
        ("default", ["it", "'", "s", "Ġ``", "a", "`", "|", "Ġ", "123", "4", ".", "5", "Ġ", "+", "x", "Ġ", "Ġ", "Â½"]),
    ],
)
def test_words_of_falcon(byte_level: Tokenizer, name: str, words: list[str]) -> None:
    engine = from_metadata(to_metadata(byte_level, 500) | {"tokenizer.ggml.pre": name}).engine
    assert engine.pre_tokenizer is not None
    found = [word for word, _ in engine.pre_tokenizer.pre_tokenize_str("it's ``a`| 1234.5 +x  ½")]
    assert found == words


def plain(engine: Engine) -> Tokenizer:
    return Tokenizer(engine, bos_token=None, eos_tokens=[], chat_templates={})


def test_gpt2_pre_tokenizer_is_named() -> None:
    engine = train_engine(bpe.GPT2_PATTERN)
    engine.model.ignore_merges = False
    metadata = to_metadata(plain(engine), 500)
    assert metadata["tokenizer.ggml.pre"] == "gpt-2"
    assert "tokenizer.ggml.bos_token_id" not in metadata
    assert "tokenizer.huggingface.json" not in metadata


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS_AS_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
PUNCTUATION = pre_tokenizers.Punctuation("contiguous")


def split(pattern: str, behavior: str = "isolated") -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior)


@pytest.mark.parametrize(
    ("steps", "name", "exact"),
    [
        ([PUNCTUATION, WORDS_AS_BYTES, split("[0-9]")], "falcon_e", True),
        ([PUNCTUATION, split(bpe.GPT2_PATTERN), split("[0-9]"), BYTES], "falcon_e", True),
        ([PUNCTUATION, WORDS_AS_BYTES, split("[0-9][0-9][0-9]")], "falcon", True),
        ([PUNCTUATION, WORDS_AS_BYTES, pre_tokenizers.Digits(individual_digits=True)], "falcon_e", False),
        (
            [PUNCTUATION, WORDS_AS_BYTES, pre_tokenizers.Digits(individual_digits=True), split("[0-9][0-9][0-9]")],
            "falcon_e",
            False,
        ),
        ([pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)], "default", False),
        ([split(bpe.GPT2_PATTERN, "removed"), BYTES], "default", False),
        ([pre_tokenizers.Punctuation("isolated"), WORDS_AS_BYTES, split("[0-9]")], "default", False),
        ([split(r"[\p{P}\$\+<=>\^~\|]+"), WORDS_AS_BYTES, split(r"\p{N}+"), split("[0-9]{3}")], "default", False),
    ],
)
def test_the_way_to_split_words_is_named_or_stored(steps: list[Any], name: str, exact: bool) -> None:
    """If GGUF's name means nearly the same, the whole tokenizer.json keeps the ids."""
    engine = train_engine(bpe.GPT2_PATTERN)
    engine.model.ignore_merges = False
    engine.pre_tokenizer = pre_tokenizers.Sequence(steps)
    metadata = to_metadata(plain(engine), 500)
    assert metadata["tokenizer.ggml.pre"] == name
    assert ("tokenizer.huggingface.json" not in metadata) == exact
    reloaded = from_metadata(metadata)
    for text in (*TRICKY, "ò ² 2² ½½ ١٢٣ 12 123 x`y`` it's"):
        assert reloaded.encode(text) == plain(engine).encode(text)


@pytest.mark.parametrize("change", ["ignore_merges", "lstrip"])
def test_what_gguf_cannot_express_is_stored_as_a_whole_file(change: str) -> None:
    engine = train_engine()
    if change == "ignore_merges":
        engine.model.ignore_merges = False
    else:
        engine.add_special_tokens([AddedToken("<|x|>", lstrip=True, normalized=False)])
    metadata = to_metadata(plain(engine), 500)
    assert metadata["tokenizer.ggml.pre"] == "llama-bpe"
    assert "tokenizer.huggingface.json" in metadata
    reloaded = from_metadata(metadata)
    for text in (*TRICKY, "a  <|x|> b"):
        assert reloaded.encode(text) == plain(engine).encode(text)


def test_a_tokenizer_without_a_gguf_name_is_stored_as_a_whole_file() -> None:
    engine = train_engine(r"\w{1,3}")
    tokenizer = Tokenizer(engine, bos_token=None, eos_tokens=[], chat_templates={})
    metadata = to_metadata(tokenizer, 500)
    assert metadata["tokenizer.ggml.pre"] == "default"
    reloaded = from_metadata(metadata)
    assert [reloaded.encode(text) for text in TRICKY] == [tokenizer.encode(text) for text in TRICKY]
    with pytest.raises(TokenizerError, match=r"tokenizer\.huggingface\.json is not a tokenizer"):
        from_metadata(metadata | {"tokenizer.huggingface.json": "{"})
