"""Control tokens that users write stay text in every field, and change no other token of the conversation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine

from bitnet_tt.errors import RequestError
from bitnet_tt.tokenizer import Tokenizer, bpe
from tests.tokenizer.small_tokenizers import SPECIALS, train_engine

BOS, END, EOT = SPECIALS
TEMPLATES = {
    "2b4t": "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}<|eot_id|>{% endfor %}",
    "turns": "{{ bos_token }}{% for m in messages %}<|end_of_text|>{{ m.role }}\n{{ m.content }}<|eot_id|>{% endfor %}",
    "joined": "{% for m in messages %}{{ m.content }}{% endfor %}<|eot_id|>",
    "lower": "{% for m in messages %}{{ m.content | lower }}{{ m.content | upper | lower }}<|eot_id|>{% endfor %}",
    "json": "{% for m in messages %}{{ m | tojson }}<|eot_id|>{% endfor %}",
    "nested": (
        "{% for m in messages %}{{ m.content }}{% for t in m.calls %}{{ t.name }}{% for k, v in t.arguments | items %}"
        "{{ k }}={{ v }}{% endfor %}{% endfor %}<|eot_id|>{% endfor %}{{ tools | tojson }}"
    ),
}


def with_spaces(spaces: str) -> Engine:
    """Return a sentencepiece engine whose rule for spaces is a normaliser (legacy) or one of Metaspace."""
    pieces = ["<unk>", *SPECIALS, "▁", *map(chr, range(33, 127)), *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    engine = Engine(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True, ignore_merges=True))
    if spaces == "legacy":
        engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        engine.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=spaces, split=False)
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return engine


def make(kind: str, template: str, **flags: bool) -> Tokenizer:
    """Return a tokenizer whose vocabulary has the control tokens, and one ordinary added token, `<tool>`."""
    engine = train_engine() if kind == "byte_level" else with_spaces(kind)
    engine.add_special_tokens([AddedToken(token, normalized=False, **flags) for token in SPECIALS])
    engine.add_tokens([AddedToken("<tool>", normalized=False)])
    bpe.surround(engine, BOS, None)
    return Tokenizer(engine, bos_token=BOS, eos_tokens=[END], chat_templates={"default": TEMPLATES[template]})


KINDS = ["byte_level", "legacy", "first", "always", "never"]
TOKENIZERS = {(kind, template): make(kind, template) for kind in KINDS for template in TEMPLATES}
FRAGMENTS = [
    *SPECIALS,
    "<|EOT_ID|>",
    "<|eot",
    "_id|>",
    "<|",
    "<",
    "|>",
    "<tool>",
    "fox",
    " ",
    "x",
    "é",
    "\ufdd0",
    "\\ufdd1",
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)
values = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(-9, 9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=5,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", EOT, "<|EOT_ID|>"]), "content": texts},
        optional={
            "calls": st.lists(
                st.fixed_dictionaries({"name": texts, "arguments": st.dictionaries(texts, values, max_size=2)}),
                max_size=2,
            ),
            "extra": values,
        },
    ),
    min_size=1,
    max_size=3,
)


def controls(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """Return the control tokens among ids."""
    return [
        token_id for token_id in ids if token_id in tokenizer.special_ids and token_id != tokenizer.token_to_id("<unk>")
    ]


@given(key=st.sampled_from(list(TOKENIZERS)), chat=messages, tools=values)
def test_only_the_template_writes_control_tokens(key: tuple[str, str], chat: list[dict[str, Any]], tools: Any) -> None:
    tokenizer = TOKENIZERS[key]
    harmless = [{"role": "user", "content": "x"} for _ in chat]
    ids = tokenizer.apply_chat_template(chat, variables={"tools": tools})
    assert controls(tokenizer, ids) == controls(tokenizer, tokenizer.apply_chat_template(harmless))
    if key[0] == "byte_level":
        rendered = tokenizer.render_chat(chat, variables={"tools": tools})
        begin = "" if key[1] == "turns" else BOS  # this template writes it
        assert tokenizer.decode(ids, skip_special_tokens=False) == begin + rendered


@given(kind=st.sampled_from(KINDS), template=st.sampled_from(["2b4t", "turns"]), chat=messages, last=texts)
def test_control_tokens_in_a_message_change_no_earlier_turn(
    kind: str, template: str, chat: list[dict[str, Any]], last: str
) -> None:
    tokenizer = TOKENIZERS[kind, template]
    before = tokenizer.apply_chat_template(chat)
    after = tokenizer.apply_chat_template([*chat, {"role": "user", "content": last}])
    assert after[: len(before)] == before


words = st.text(alphabet="ab <>|é\n▁", max_size=12)


@given(key=st.sampled_from(list(TOKENIZERS)), contents=st.lists(words, min_size=1, max_size=3))
def test_a_chat_without_control_tokens_has_the_ids_of_its_text(key: tuple[str, str], contents: list[str]) -> None:
    tokenizer = TOKENIZERS[key]
    chat = [{"role": "user", "content": content} for content in contents]
    assert tokenizer.apply_chat_template(chat) == tokenizer.encode(tokenizer.render_chat(chat))


@given(kind=st.sampled_from(KINDS), text=texts)
def test_plain_text_has_no_control_tokens_and_the_same_other_tokens(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind, "joined"]
    ids = tokenizer.encode(text, add_bos=False, parse_special=False)
    assert not controls(tokenizer, ids)
    assert ids.count(tokenizer.token_to_id("<tool>") or 0) == text.count("<tool>")
    if not any(token in text for token in SPECIALS):
        assert ids == tokenizer.encode(text, add_bos=False)


def test_flags_of_control_tokens_still_count() -> None:
    tokenizer = make("byte_level", "turns", lstrip=True, rstrip=True)
    chat = [{"role": "user", "content": "a  "}, {"role": "user", "content": f" b {EOT}"}]
    ids = tokenizer.apply_chat_template(chat)
    assert tokenizer.decode(ids, skip_special_tokens=False) == (
        f"{BOS}{END}user\na{EOT}{END}user\n b {EOT}{EOT}"  # spaces before and after the template's tokens are gone
    )


def test_ascii_json_of_a_template_holds_no_marker() -> None:
    tokenizer = make("byte_level", "joined")
    tokenizer.chat_templates["default"] = "{{ messages[0].content | tojson(ensure_ascii=True) }}<|eot_id|>"
    ids = tokenizer.apply_chat_template([{"role": "user", "content": f"é{EOT}"}])
    assert tokenizer.decode(ids, skip_special_tokens=False) == BOS + json.dumps(f"é{EOT}") + EOT


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), {"a": [b"x"]}])
def test_values_that_json_does_not_have_are_refused(value: object) -> None:
    tokenizer = TOKENIZERS["byte_level", "2b4t"]
    chat = [{"role": "user", "content": "a", "extra": value}]
    with pytest.raises(RequestError, match=r"messages\[0\]\['extra'\].* is of type"):
        tokenizer.apply_chat_template(chat)
    with pytest.raises(RequestError, match="a chat template takes text"):
        tokenizer.render_chat(chat)


def test_messages_nested_too_deep_are_refused() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RequestError, match="nested too deep"):
        TOKENIZERS["byte_level", "2b4t"].apply_chat_template([{"role": "user", "content": "a", "extra": deep}])
