"""load_tokenizer finds a checkpoint's tokenizer, its beginning-of-text rule and its templates; save writes them."""

import json
from pathlib import Path

import pytest
from tokenizers import processors

from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer import Tokenizer, load_tokenizer
from tests.tokenizer.small_tokenizers import CORPUS, SPECIALS, TEMPLATE, train_engine

BOS, END, EOT = SPECIALS


def write_folder(folder: Path, config: object = None, *, post_processor: bool = False, **files: str) -> Path:
    engine = train_engine()
    if post_processor:
        engine.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, engine.token_to_id(BOS))]
        )
    engine.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("config", "post_processor", "expected"),
    [
        (None, False, False),
        (None, True, True),
        ({"bos_token": BOS}, True, True),
        ({"bos_token": BOS}, False, False),
        ({"bos_token": {"content": BOS}, "add_bos_token": True}, False, True),
        ({"bos_token": BOS, "add_bos_token": False}, True, False),
    ],
)
def test_rules_for_the_beginning_of_text_token(
    tmp_path: Path, config: object, post_processor: bool, expected: bool
) -> None:
    tokenizer = load_tokenizer(write_folder(tmp_path, config, post_processor=post_processor))
    assert tokenizer.add_bos is expected
    bos = tokenizer.token_to_id(BOS)
    assert (tokenizer.encode("fox")[0] == bos) is expected
    assert tokenizer.encode(BOS + "fox").count(bos) == 1
    if tokenizer.bos_token is not None:
        assert tokenizer.encode("fox", add_bos=True) == [bos, *tokenizer.encode("fox", add_bos=False)]


def test_end_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_folder(tmp_path, {"eos_token": END}))
    assert tokenizer.eos_token_ids == (tokenizer.token_to_id(END), tokenizer.token_to_id(EOT))
    assert load_tokenizer(write_folder(tmp_path, {"eos_token": EOT})).eos_tokens[0] == EOT


@pytest.mark.parametrize(
    ("config", "files", "expected"),
    [
        ({"chat_template": "A"}, {}, {"default": "A"}),
        ({"chat_template": [{"name": "default", "template": "A"}, {"name": "rag", "template": "B"}]}, {}, None),
        ({"chat_template": "A"}, {"chat_template__jinja": "J"}, {"default": "J"}),
        ({}, {"chat_template__json": '{"chat_template": "C"}'}, {"default": "C"}),
        ({"chat_template": [1, {"name": 2}]}, {}, {}),
        ({}, {}, {}),
    ],
)
def test_places_of_chat_templates(tmp_path: Path, config: object, files: dict[str, str], expected: object) -> None:
    tokenizer = load_tokenizer(write_folder(tmp_path, config, **files))
    assert tokenizer.chat_templates == (expected if expected is not None else {"default": "A", "rag": "B"})


def test_truncation_and_padding_of_a_file_are_ignored(tmp_path: Path) -> None:
    engine = train_engine()
    engine.enable_truncation(4)
    engine.enable_padding(length=64)
    engine.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode(CORPUS[0])) == CORPUS[0]


def test_invalid_unicode_is_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(RequestError, match="not valid Unicode"):
        byte_level.encode("a\ud800")


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece_tokenizer"])
def test_a_saved_tokenizer_loads_as_the_same(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    tokenizer.save(tmp_path / "new")
    reloaded = load_tokenizer(tmp_path / "new")
    assert reloaded.encode(CORPUS[2]) == tokenizer.encode(CORPUS[2])
    for name in ("bos_token", "eos_tokens", "add_bos", "chat_templates", "special_ids", "vocab_size"):
        assert getattr(reloaded, name) == getattr(tokenizer, name)


def test_several_templates_are_saved(byte_level: Tokenizer, tmp_path: Path) -> None:
    templates = {"default": TEMPLATE, "rag": "x"}
    Tokenizer(byte_level.engine, bos_token=None, eos_tokens=[], add_bos=False, chat_templates=templates).save(tmp_path)
    assert load_tokenizer(tmp_path).chat_templates == templates


def test_a_missing_tokenizer_error_says_what_was_looked_for(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(TokenizerError, match=r"looked for tokenizer\.json and tokenizer\.model; copy"):
            load_tokenizer(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}'),
        ("tokenizer_config.json", b"["),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b"\xff"),
        ("tokenizer_config.json", b'{"eos_token": "<none>"}'),
        ("chat_template.json", b"1"),
        ("chat_template.jinja", b"\xff"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (write_folder(tmp_path) / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        load_tokenizer(tmp_path)


def test_unknown_ids_and_tokens(byte_level: Tokenizer) -> None:
    assert byte_level.id_to_token(10_000) is None
    assert byte_level.id_to_token(-1) is None
    assert byte_level.token_to_id("never a token") is None
    assert byte_level.decode([10_000, -1]) == ""
