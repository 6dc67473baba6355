"""A tokenizer written as GGUF metadata and read back is the same, and damaged metadata is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from bitnet_tt.tokenizer.gguf_templates import template_note
from tests.tokenizer.small_tokenizers import PLACEHOLDER, SPECIALS, TRICKY, from_metadata, texts

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


def test_ids_past_the_models_vocabulary_are_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="past the model's vocabulary of 300"):
        to_metadata(byte_level, 300)


@pytest.mark.parametrize("name", ["eot", "eom", "fim_pad", "fim_rep", "fim_sep"])
def test_other_tokens_that_end_texts(byte_level: Tokenizer, name: str) -> None:
    metadata = to_metadata(byte_level, 500) | {f"tokenizer.ggml.{name}_token_id": 7}
    tokenizer = from_metadata(metadata)
    assert tokenizer.eos_token_ids == (401, 7, 402)
    assert tokenizer.eos_tokens[0] == SPECIALS[1]


HARMLESS = {
    "tokenizer.ggml.padding_token_id": 3,
    "tokenizer.ggml.unknown_token_id": 10**9,
    "tokenizer.ggml.seperator_token_id": 3,
    "tokenizer.ggml.cls_token_id": 3,
    "tokenizer.ggml.mask_token_id": 3,
    "tokenizer.ggml.fim_pre_token_id": 3,
    "tokenizer.ggml.middle_token_id": 3,
    "tokenizer.ggml.token_type_count": 1,
    "tokenizer.ggml.add_sep_token": False,
    "tokenizer.ggml.remove_extra_whitespaces": False,
    "tokenizer.ggml.precompiled_charsmap": [],
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.chat_templates": ["rag"],
}


def test_keys_that_change_nothing(byte_level: Tokenizer) -> None:
    metadata = to_metadata(byte_level, 500)
    expected, found = from_metadata(metadata), from_metadata(metadata | HARMLESS)
    assert [found.encode(text) for text in TRICKY] == [expected.encode(text) for text in TRICKY]
    for name in ("bos_token", "eos_tokens", "add_bos", "chat_templates", "special_ids"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ggml.add_sep_token", True, "add_sep_token is True, which is not supported"),
        ("ggml.remove_extra_whitespaces", True, "remove_extra_whitespaces is True, which is not supported"),
        ("ggml.precompiled_charsmap", [0] * 999, r"precompiled_charsmap is \[0, .{76}\.\.\., which is not supported"),
        ("ggml.normalizer.lowercase", True, "normalizer.lowercase is True, which is not supported"),
        ("ggml.suppress_tokens", [5], r"suppress_tokens is \[5\], which is not supported"),
        ("ggml.new_setting", 1, r"tokenizer\.ggml\.new_setting is not supported\. Use the model's Hugging Face folder"),
        ("new.key", "x", r"tokenizer\.new\.key is not supported"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_would_change_the_result_are_refused(
    request: pytest.FixtureRequest, kind: str, key: str, value: Any, message: str
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    with pytest.raises(TokenizerError, match=message):
        from_metadata(to_metadata(tokenizer, 500) | {f"tokenizer.{key}": value})


CHAT = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Bye"},
]


def test_the_placeholder_of_a_converter_is_replaced_by_the_template_of_2b4t(byte_level: Tokenizer) -> None:
    metadata = to_metadata(byte_level, 500) | {"tokenizer.chat_template": PLACEHOLDER}
    assert from_metadata(metadata).render_chat(CHAT) == (
        "System: Be brief.<|eot_id|>User: Hello<|eot_id|>Assistant: Hi<|eot_id|>User: Bye<|eot_id|>Assistant: "
    )
    assert template_note(metadata) == [
        "the file's chat template is a placeholder of its converter (Human: ... BITNETAssistant:); the template of "
        "microsoft/bitnet-b1.58-2B-4T is used instead"
    ]
    assert template_note(to_metadata(byte_level, 500)) == []
    other = metadata | {"tokenizer.chat_template": PLACEHOLDER + " "}
    assert from_metadata(other).render_chat(CHAT[1:2]).startswith(SPECIALS[0] + "Human: Hello")
    assert template_note(other) == []


def test_the_placeholder_is_dropped_from_models_without_2b4ts_tokens(sentencepiece_tokenizer: Tokenizer) -> None:
    metadata = to_metadata(sentencepiece_tokenizer, 500) | {"tokenizer.chat_template": PLACEHOLDER}
    assert from_metadata(metadata).chat_templates == {}
    assert template_note(metadata)[0].endswith("(Human: ... BITNETAssistant:); it is not used")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "bert"}, r"tokenizer\.ggml\.model is 'bert' \(WordPiece\); only 'gpt2' and 'llama' are supported"),
        ({"model": "t5"}, r"'t5' \(Unigram\)"),
        ({"model": "rwkv"}, r"'rwkv' \(RWKV\)"),
        ({"model": "none"}, r"'none' \(no tokenizer\)"),
        ({"model": "new"}, "'new'; only"),
        ({"model": None}, "None"),
        ({"model": ["gpt2"]}, r"\['gpt2'\]"),
        ({"tokens": None}, "tokens is missing"),
        ({"tokens": [1, 2]}, "must hold strings"),
        ({"merges": None}, "merges is missing"),
        ({"merges": ["ab"]}, "not two tokens"),
        ({"merges": ["nothing here"]}, "merges do not fit"),
        ({"token_type": [1]}, "differ in length"),
        ({"pre": "poro-chat"}, "'poro-chat'; known: llama-bpe"),
        ({"tokens": ["a", "b", "a"]}, "tokens has 'a' twice"),
        ({"pre": ["llama-bpe"]}, "damaged"),
        ({"bos_token_id": 10**6}, "bos_token_id is 1000000, which is not the id of one of 500 tokens"),
        ({"bos_token_id": True}, "bos_token_id is True"),
        ({"eot_token_id": 1.0}, "eot_token_id is 1.0"),
        ({"eom_token_id": -1}, "eom_token_id is -1"),
        ({"add_bos_token": "yes"}, "add_bos_token must be true or false, not 'yes'"),
        ({"eos_token_id": "x"}, "damaged"),
        ({"token_type": ["x"]}, "damaged"),
        ({"model": "llama", "scores": [1.0]}, "scores and tokens differ"),
    ],
)
def test_damaged_metadata_is_refused(byte_level: Tokenizer, change: dict[str, Any], message: str) -> None:
    metadata = to_metadata(byte_level, 500) | {f"tokenizer.ggml.{name}": value for name, value in change.items()}
    with pytest.raises(TokenizerError, match=message):
        from_metadata(metadata)


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.rag"])
def test_a_template_that_is_no_text_is_refused(byte_level: Tokenizer, key: str) -> None:
    with pytest.raises(TokenizerError, match=rf"{key} must be a text, not \['x'\]"):
        from_metadata(to_metadata(byte_level, 500) | {key: ["x"]})


ANY_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-2, 500), st.floats(), st.text(max_size=3)),
    lambda values: st.lists(values, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
def test_metadata_of_wrong_types_raise_no_other_error(pair: tuple[Tokenizer, Tokenizer], data: st.DataObject) -> None:
    """Any value of any key gives a tokenizer or an error of ours that names the key or says that it is damaged."""
    metadata = to_metadata(pair[0], 500)
    names = st.text("abcdefghijklmnopqrstuvwxyz_.", max_size=12).map("tokenizer.{}".format)
    keys = st.sampled_from(sorted({*metadata, *HARMLESS})) | names
    changed = metadata | data.draw(st.dictionaries(keys, ANY_VALUE, min_size=1, max_size=3))
    template_note(changed)
    try:
        tokenizer = from_metadata(changed)
    except TokenizerError as error:
        assert "tokenizer." in str(error) or "the tokenizer metadata of this GGUF file is damaged" in str(error)  # noqa: PT017
    else:
        assert tokenizer.decode(tokenizer.encode("a b")) is not None
