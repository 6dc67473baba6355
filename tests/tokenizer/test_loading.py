"""`from_path` finds a checkpoint's tokenizer, its beginning-of-text rule and its templates; `save` writes them."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Engine
from tokenizers import models, processors

import bitnet_tt
from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer import Tokenizer, bpe
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
        ({"bos_token": {"content": BOS}, "add_bos_token": True}, False, False),
        ({"bos_token": BOS, "add_bos_token": False}, True, True),
    ],
)
def test_the_post_processor_decides_about_the_beginning_of_text_token(
    tmp_path: Path, config: object, post_processor: bool, expected: bool
) -> None:
    tokenizer = Tokenizer.from_path(write_folder(tmp_path, config, post_processor=post_processor))
    assert tokenizer.add_bos is expected
    bos = tokenizer.token_to_id(BOS)
    assert (tokenizer.encode("fox")[0] == bos) is expected
    assert tokenizer.encode(BOS + "fox").count(bos) == 1
    if tokenizer.bos_token is not None:
        assert tokenizer.encode("fox", add_bos=True) == [bos, *tokenizer.encode("fox", add_bos=False)]


def test_a_post_processor_can_add_tokens_after_a_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    engine = train_engine()
    bpe.surround(engine, BOS, EOT)
    engine.save(str(folder / "tokenizer.json"))
    tokenizer = Tokenizer.from_path(folder)
    plain = tokenizer.encode("fox", add_bos=False)
    assert tokenizer.encode("fox") == [*map(tokenizer.token_to_id, [BOS]), *plain, tokenizer.token_to_id(EOT)]


def test_a_post_processor_that_puts_tokens_into_the_text_is_refused(tmp_path: Path) -> None:
    engine = train_engine()
    bpe.surround(engine, BOS, None)
    file = write_folder(tmp_path) / "tokenizer.json"
    data = json.loads(engine.to_str())
    special, text = data["post_processor"]["single"]
    data["post_processor"]["single"] = [text, special, text]
    file.write_text(json.dumps(data))
    with pytest.raises(TokenizerError, match="puts tokens into the text"):
        Tokenizer.from_path(tmp_path)


def test_a_vocabulary_without_the_letter_a_begins_texts_too() -> None:
    engine = Engine(models.BPE(vocab={"<s>": 0, "b": 1}, merges=[]))
    engine.add_special_tokens(["<s>"])
    bpe.surround(engine, "<s>", None)
    assert bpe.tokens_around(engine) == ([0], [])


def test_the_demo_begins_texts_as_transformers_does() -> None:
    tokenizer = Tokenizer.from_path(Path(bitnet_tt.__file__).parent / "assets/demo")
    assert tokenizer.engine.encode("fox").ids == tokenizer.encode("fox") == [0, *tokenizer.encode("fox", add_bos=False)]


def test_flags_of_a_model_file_decide_about_the_tokens_around_a_text(sentencepiece_file: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false, "add_eos_token": true}')
    assert Tokenizer.from_path(tmp_path).encode("fox")[-1] == 2
    assert Tokenizer.from_path(tmp_path).encode("fox")[0] != 1


def test_end_tokens(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_path(write_folder(tmp_path, {"eos_token": END}))
    assert tokenizer.eos_token_ids == (tokenizer.token_to_id(END), tokenizer.token_to_id(EOT))
    assert Tokenizer.from_path(write_folder(tmp_path, {"eos_token": EOT})).eos_tokens[0] == EOT


@pytest.mark.parametrize(
    ("config", "files", "expected"),
    [
        ({"chat_template": "A"}, {}, {"default": "A"}),
        ({"chat_template": {"default": "A", "rag": "B"}}, {}, None),
        ({"chat_template": [{"name": "default", "template": "A"}, {"name": "rag", "template": "B"}]}, {}, None),
        ({"chat_template": "A"}, {"chat_template__jinja": "J"}, {"default": "J"}),
        ({}, {"chat_template__json": '{"chat_template": "C"}'}, {"default": "C"}),
        ({"chat_template": [1, {"name": 2}]}, {}, {}),
        ({}, {}, {}),
    ],
)
def test_places_of_chat_templates(tmp_path: Path, config: object, files: dict[str, str], expected: object) -> None:
    tokenizer = Tokenizer.from_path(write_folder(tmp_path, config, **files))
    assert tokenizer.chat_templates == (expected if expected is not None else {"default": "A", "rag": "B"})


def test_more_chat_templates_have_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"chat_template": "A"}, chat_template__jinja="J")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates/rag.jinja").write_text("R")
    assert Tokenizer.from_path(folder).chat_templates == {"default": "J", "rag": "R"}


def test_truncation_and_padding_of_a_file_are_ignored(tmp_path: Path) -> None:
    engine = train_engine()
    engine.enable_truncation(4)
    engine.enable_padding(length=64)
    engine.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_path(tmp_path)
    assert tokenizer.decode(tokenizer.encode(CORPUS[0])) == CORPUS[0]


def test_invalid_unicode_is_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(RequestError, match="not valid Unicode"):
        byte_level.encode("a\ud800")


@pytest.mark.parametrize("content", ["đem", "café", "č", "naïve"])
def test_an_added_token_is_written_as_itself(tmp_path: Path, content: str) -> None:
    (write_folder(tmp_path) / "added_tokens.json").write_text(json.dumps({content: 403}))
    tokenizer = Tokenizer.from_path(tmp_path)
    assert len(tokenizer.encode(content)) == 1
    assert tokenizer.decode(tokenizer.encode(f"fox {content} fox")) == f"fox {content} fox"


@pytest.mark.parametrize(
    "files",
    [
        {"config": {"added_tokens_decoder": {"403": {"content": "<|x|>", "special": True}}}},
        {"config": {"additional_special_tokens": ["<|x|>"]}},
        {"config": {"pad_token": "<|x|>"}},
        {"special_tokens_map__json": '{"additional_special_tokens": ["<|x|>"]}'},
        {"added_tokens__json": '{"<|x|>": 403}', "special_tokens_map__json": '{"image_token": "<|x|>"}'},
    ],
)
def test_places_of_special_tokens(tmp_path: Path, files: dict) -> None:
    tokenizer = Tokenizer.from_path(write_folder(tmp_path, **files))
    assert tokenizer.encode("a<|x|>b")[1:-1] == [403]
    assert tokenizer.decode(tokenizer.encode("a<|x|>b")) == "ab"
    tokenizer.chat_templates["default"] = "{{ messages[0].content }}"
    assert 403 not in tokenizer.apply_chat_template([{"role": "user", "content": "<|x|>"}])


def test_a_token_that_is_special_only_by_its_use(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"eos_token": EOT})
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"special": true', '"special": false'))
    tokenizer = Tokenizer.from_path(folder)
    assert tokenizer.special_ids == {tokenizer.token_to_id(EOT)}
    assert tokenizer.decode(tokenizer.encode(f"a{EOT}")) == "a"


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece_tokenizer"])
def test_a_saved_tokenizer_loads_as_the_same(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    tokenizer.save(tmp_path / "new")
    reloaded = Tokenizer.from_path(tmp_path / "new")
    assert reloaded.encode(CORPUS[2]) == tokenizer.encode(CORPUS[2])
    for name in ("bos_token", "eos_tokens", "add_bos", "chat_templates", "special_ids", "vocab_size"):
        assert getattr(reloaded, name) == getattr(tokenizer, name)


def test_several_templates_are_saved(byte_level: Tokenizer, tmp_path: Path) -> None:
    templates = {"default": TEMPLATE, "rag": "x"}
    Tokenizer(byte_level.engine, bos_token=None, eos_tokens=[], chat_templates=templates).save(tmp_path)
    assert Tokenizer.from_path(tmp_path).chat_templates == templates


def test_a_missing_tokenizer_error_says_what_was_looked_for(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(TokenizerError, match=r"looked for tokenizer\.json and tokenizer\.model; copy"):
            Tokenizer.from_path(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}'),
        ("tokenizer_config.json", b"["),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b"\xff"),
        ("tokenizer_config.json", b'{"eos_token": {"text": "x"}}'),
        ("tokenizer_config.json", b'{"additional_special_tokens": "<x>"}'),
        ("tokenizer_config.json", b'{"additional_special_tokens": [1]}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {"content": "<x>"}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": 1}'),
        ("special_tokens_map.json", b"["),
        ("special_tokens_map.json", b'{"eos_token": {}}'),
        ("added_tokens.json", b'{"<x>": "1"}'),
        ("chat_template.json", b"1"),
        ("chat_template.jinja", b"\xff"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (write_folder(tmp_path) / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        Tokenizer.from_path(tmp_path)


def test_unknown_ids_and_tokens(byte_level: Tokenizer) -> None:
    assert byte_level.id_to_token(10_000) is None
    assert byte_level.id_to_token(-1) is None
    assert byte_level.token_to_id("never a token") is None
    assert byte_level.decode([10_000, -1]) == ""
