"""`bitnet-tt self-test` passes on this machine, and fails if a backend computes wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.hub import resolve
from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from tests.checkpoint import small_bonsai

AGREEMENT = ("correlation", "mean_kl", "top1", "clear_top1")


def test_this_machine_computes_right(run) -> None:
    result = run("self-test")
    assert result.exit_code == 0
    assert "PASS: this machine computes right." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "chunked" in result.stdout


def test_json(run) -> None:
    report = json.loads(run("self-test", "--json", "--threads", "1").stdout)
    assert report["passed"] is True
    assert list(report) == [
        "model",
        "device",
        "tokens",
        *AGREEMENT,
        "bars",
        "torch",
        "sensitivity",
        "float_activations",
        "variants",
        "passed",
    ]
    assert list(report["bars"]) == ["correlation", "mean_kl", "clear_top1"]
    assert list(report["variants"][0]) == ["isa", "threads", "chunk", "identical"]
    assert report["correlation"] > 0.9999
    assert {variant["isa"] for variant in report["variants"]} >= {"scalar"}
    assert all(variant["identical"] for variant in report["variants"])


def test_what_quantising_activations_changes_is_shown(run, tmp_path: Path) -> None:
    """For weights with group scales, whose authors quantise no activations."""
    demo = resolve("demo")
    vocab = Checkpoint.open(demo).config.vocab_size
    folder = small_bonsai.write_unpacked(tmp_path / "bonsai", small_bonsai.tensors(64, vocab=vocab), vocab_size=vocab)
    copy_tokenizer(demo, folder)
    result = run("self-test", str(folder))
    assert result.exit_code == 0
    assert max(map(len, result.stdout.replace(str(folder), "").splitlines())) <= 80
    assert "The model's authors quantise no activations." in result.stdout
    report = json.loads(run("self-test", str(folder), "--json").stdout)
    assert list(report["float_activations"]) == list(AGREEMENT)
    assert 0.999 < report["float_activations"]["correlation"] < report["correlation"]


@pytest.mark.parametrize(("error", "met"), [(1e-6, True), (1.0, False)])
def test_a_machine_that_computes_wrong_fails(run, monkeypatch: pytest.MonkeyPatch, error: float, met: bool) -> None:
    right = BitNetModel.logits

    def wrong(self: BitNetModel, token_ids: list[int]) -> np.ndarray:
        logits = right(self, token_ids)
        noise = np.random.default_rng(0).normal(size=logits.shape) * logits.std()
        return (logits + error * noise).astype(np.float32)

    monkeypatch.setattr(BitNetModel, "logits", wrong)
    result = run("self-test")
    assert result.exit_code == 1
    assert "FAIL: this machine computes wrong." in result.stdout
    report = json.loads(run("self-test", "--json").stdout)
    assert report["passed"] is False
    assert (report["correlation"] >= report["bars"]["correlation"]) is met
    assert not any(variant["identical"] for variant in report["variants"])
