"""`bitnet-tt embed` prints one embedding a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bitnet_tt import BitNetModel
from tests.embedding_model import write_embedding_model


def test_embeddings_of_arguments_and_of_lines(run, tmp_path: Path) -> None:
    folder = str(write_embedding_model(tmp_path / "model"))
    texts = ["What is BitNet?", "The fox"]
    with BitNetModel.from_pretrained(folder) as model:
        expected = model.embed(texts)
    lines = run("embed", *texts, "-m", folder).stdout.splitlines()
    np.testing.assert_array_equal([np.array(json.loads(line), np.float32) for line in lines], expected)
    assert run("embed", "-", "-m", folder, stdin="\n".join(texts) + "\n").stdout.splitlines() == lines
    result = json.loads(run("embed", "The fox", "-m", folder, "--json").stdout)
    assert result["embeddings"] == [{"text": "The fox", "embedding": json.loads(lines[1])}]


def test_a_model_that_writes_text_is_refused(run) -> None:
    result = run("embed", "text", "-m", "demo")
    assert result.exit_code == 1
    assert "no embeddings of texts" in " ".join(result.stderr.split())
