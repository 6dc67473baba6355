"""The training recipe: a model that it trained converts, agrees with PyTorch, and writes what it learned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitnet_tt import BitNetModel
from bitnet_tt.cli import app as bitnet_tt

pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
recipe = pytest.importorskip("tools.train_bitnet.__main__")
pytestmark = pytest.mark.torch

TINY = (
    *("--hidden", "64", "--intermediate", "128", "--layers", "2", "--heads", "2", "--kv-heads", "1"),
    *("--vocab", "280", "--context", "96", "--length", "48"),
)
ANIMALS = ("fox", "owl", "cat", "hen", "dog", "bee")
TEXT = "".join(f"The {one} saw the {two}. " for one in ANIMALS for two in ANIMALS) * 3


def run(app: object, *arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train(target: Path, text: Path, *options: str) -> list[float]:
    """Return the losses that the recipe prints."""
    output = run(recipe.app, str(target), "--text", str(text), *TINY, *options)
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", output)]


def test_a_trained_model_converts_and_agrees_with_pytorch(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    floats = train(tmp_path / "floats", text, "--float", "--steps", "100")
    cold = train(tmp_path / "cold", text, "--steps", "40")
    warm = train(tmp_path / "warm", text, "--steps", "40", "--start", str(tmp_path / "floats"))
    assert floats[-1] < floats[0] / 2
    assert warm[-1] < cold[-1]
    run(bitnet_tt, "convert", str(tmp_path / "warm"), str(tmp_path / "packed"), "--to", "packed")
    report = json.loads(run(bitnet_tt, "self-test", str(tmp_path / "packed"), "--against-torch", "--json"))
    assert report["passed"]
    assert report["torch"]["correlation"] >= 0.9999
    tuned = train(tmp_path / "tuned", text, "--steps", "100", "--start", str(tmp_path / "packed"))
    assert tuned[0] < cold[0]
    with BitNetModel.from_pretrained(tmp_path / "tuned") as model:
        assert re.fullmatch(r"( saw the \w+\. The \w+)+.*", model.generate("The fox", max_new_tokens=40))


def test_too_little_text_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("short")
    result = CliRunner().invoke(recipe.app, [str(tmp_path / "out"), "--text", str(text), *TINY])
    assert result.exit_code == 1
    assert "fewer than a window of 49" in result.output
    assert not (tmp_path / "out").exists()
