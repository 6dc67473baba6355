"""The commands take any part of a split GGUF model, and say what users should know about a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitnet_tt.tokenizer.gguf_saving import to_metadata
from tests.checkpoint.small_gguf import write_with_gguf_package
from tests.tokenizer.small_tokenizers import PLACEHOLDER, SPECIALS, TEMPLATE, train_engine

VOCAB = 512
NOTE = (
    "the file's chat template is a placeholder of its converter (Human: ... BITNETAssistant:); the template of "
    "microsoft/bitnet-b1.58-2B-4T is used instead"
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A model like microsoft/bitnet-b1.58-2B-4T-gguf, in three parts."""
    from bitnet_tt.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("gguf")
    templates = {"default": TEMPLATE}
    tokenizer = Tokenizer(train_engine(), bos_token=SPECIALS[0], eos_tokens=[SPECIALS[1]], chat_templates=templates)
    metadata = to_metadata(tokenizer, VOCAB) | {"tokenizer.chat_template": PLACEHOLDER}
    write_with_gguf_package(folder / "model.gguf", vocab=VOCAB, tokenizer=metadata, split_max_tensors=10)
    return sorted(folder.glob("*.gguf"))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_info_lists_all_parts(run, parts: list[Path], part: int) -> None:
    facts = json.loads(run("info", str(parts[part]), "--json").stdout)
    assert [file["path"] for file in facts["files"]] == list(map(str, parts))
    assert [file["bytes"] for file in facts["files"]] == [path.stat().st_size for path in parts]
    assert facts["tokenizer"]["chat_example"] == "User: Hello<|eot_id|>Assistant: "
    assert facts["notes"] == [NOTE]
    facts = " ".join(run("info", str(parts[part])).stdout.split())
    assert NOTE in facts
    assert "gguf, split into 3 files" in facts
    assert json.loads(run("info", "--json").stdout)["notes"] == []


def test_a_part_without_the_others_is_an_error(run, parts: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / parts[1].name
    alone.write_bytes(parts[1].read_bytes())
    for command in (["info", str(alone)], ["generate", "x", "-m", str(alone)]):
        result = run(*command)
        assert result.exit_code == 1
        assert "is part 2 of 3 of a split model" in " ".join(result.stderr.split())


def test_notes_are_said_once(run, parts: list[Path], tmp_path: Path) -> None:
    options = ["-n", "5", "--ignore-eos"]
    generated = run("generate", "a b", "-m", str(parts[2]), *options)
    assert generated.stderr == f"note: {NOTE}\n"
    converted = run("convert", str(parts[1]), str(tmp_path / "one"), "--to", "packed")
    assert converted.stderr.count("note: ") == 1
    again = run("generate", "a b", "-m", str(tmp_path / "one"), *options)
    assert again.stdout == generated.stdout
    assert again.stderr == ""
