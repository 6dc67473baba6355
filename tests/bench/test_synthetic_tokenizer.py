"""A random model's tokenizer has the size that was asked for and works as a real one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitnet_tt.bench.synthetic_tokenizer import add_tokenizer, tokenizer_json
from bitnet_tt.errors import ConfigError
from bitnet_tt.tokenizer import Tokenizer

TEXT = "Once upon a time, drei Bären: 熊!\n"


def test_it_has_the_size_of_the_vocabulary(tmp_path: Path) -> None:
    add_tokenizer(tmp_path, 4096)
    tokenizer = Tokenizer.from_path(tmp_path)
    assert tokenizer.vocab_size == 4096
    assert max(tokenizer.special_ids) == 4095
    ids = tokenizer.encode(TEXT)
    assert len(ids) < len(TEXT.encode())  # some letters were merged
    assert ids[0] == min(tokenizer.special_ids)
    assert tokenizer.decode(ids) == TEXT


def test_it_has_about_as_many_merge_rules_for_each_token_as_that_of_llama_3() -> None:
    rules = json.loads(tokenizer_json(20_000))["model"]["merges"]
    assert 1.5 < len(rules) / 20_000 < 2.5  # 2.2
    assert len(set(rules)) == len(rules)


def test_it_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("mine")
    add_tokenizer(tmp_path, 4096)
    assert (tmp_path / "tokenizer.json").read_text() == "mine"


def test_it_is_the_same_each_time() -> None:
    assert tokenizer_json(1024) == tokenizer_json(1024)


def test_a_vocabulary_without_room_for_all_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 768 tokens, not 64"):
        add_tokenizer(tmp_path, 64)
    assert not list(tmp_path.iterdir())
