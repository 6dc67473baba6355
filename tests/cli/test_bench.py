"""`bitnet-tt bench`, on the demo model and on a random one of a small shape."""

import json
from pathlib import Path

import pytest

from bitnet_tt.bench import synthetic

QUICK = ["--threads", "1", "--prompt-length", "4", "--new-tokens", "2", "--repeats", "1"]


def test_it_measures_the_demo(run) -> None:
    result = run("bench", *QUICK)
    assert result.exit_code == 0
    assert result.stdout.startswith("demo on cpu")
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_random_model_is_made_once(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = synthetic.SHAPES["0.7b"] | {"num_hidden_layers": 1, "vocab_size": 64}
    monkeypatch.setattr(synthetic, "SHAPES", {"0.7b": small})
    arguments = ["bench", "--synthetic", "0.7b", "--cache-dir", str(tmp_path / "cache"), "--json", *QUICK]
    report = json.loads(run(*arguments).stdout)
    assert report["model"] == "random 0.7b"
    assert report["decode"][0]["tokens_per_s"] > 0
    made = (tmp_path / "cache/synthetic-0.7b/model.safetensors").stat().st_mtime_ns
    run(*arguments)
    assert (tmp_path / "cache/synthetic-0.7b/model.safetensors").stat().st_mtime_ns == made
