"""The pooling of an embedding model comes from its files; another one than that of the last token is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.pooling import read_pooling, write_pooling
from bitnet_tt.checkpoint.save_gguf import save_gguf
from bitnet_tt.errors import ConfigError
from tests import golden_checkpoints as golden
from tests.checkpoint.test_qwen3 import load, wide, write_gguf


def write(folder: Path, pooling: Any, *steps: str) -> Path:
    modules = [
        {"path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"} for index, kind in enumerate(steps)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 8},
        {"pooling_mode": "lasttoken", "embedding_dimension": 8},
    ],
)
def test_last_token_pooling(tmp_path: Path, pooling: Any) -> None:
    assert read_pooling(write(tmp_path, pooling, "Transformer", "Pooling", "Normalize")) == "last"


def test_what_we_write_reads_back(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) is None
    write_pooling(tmp_path, 8)
    assert read_pooling(tmp_path) == "last"


@pytest.mark.parametrize(
    ("pooling", "steps", "message"),
    [
        ({"pooling_mode_mean_tokens": True}, ("Pooling",), r"by mean_tokens; only lasttoken is supported"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True}, ("Pooling",), "by mean_tokens and last"),
        ({"pooling_mode": "cls"}, ("Pooling",), "by cls"),
        ({}, ("Pooling",), "by nothing"),
        ([], ("Pooling",), r"1_Pooling/config\.json must hold a JSON object"),
        (
            {"pooling_mode_lasttoken": True},
            ("Transformer", "Pooling", "Dense"),
            r"modules\.json has a step of type 'Dense'",
        ),
    ],
)
def test_others_are_refused(tmp_path: Path, pooling: Any, steps: tuple[str, ...], message: str) -> None:
    steps = steps if len(steps) > 1 else ("Transformer", *steps)
    with pytest.raises(ConfigError, match=message):
        read_pooling(write(tmp_path, pooling, *steps))


def test_the_family_says_it_if_no_file_does() -> None:
    assert Checkpoint.open(golden.FOLDER / "qwen3-embedding").pooling == "last"
    assert Checkpoint.open(golden.FOLDER / "qwen3-packed-yarn").pooling is None


def test_gguf(tmp_path: Path) -> None:
    config, weights = wide(golden.FOLDER / "qwen3-embedding")
    assert Checkpoint.open(write_gguf(tmp_path / "last.gguf", config, weights, pooling_type=3)).pooling == "last"
    assert Checkpoint.open(write_gguf(tmp_path / "none.gguf", config, weights, pooling_type=0)).pooling is None
    with pytest.raises(ConfigError, match=r"qwen3\.pooling_type is 1, which is not supported"):
        Checkpoint.open(write_gguf(tmp_path / "mean.gguf", config, weights, pooling_type=1))
    config, weights = load(golden.FOLDER / "qwen3-embedding")
    save_gguf(config, weights, tmp_path / "ours.gguf", tokenizer_metadata={}, pooling="last")
    assert Checkpoint.open(tmp_path / "ours.gguf").pooling == "last"
