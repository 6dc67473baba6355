"""`bitnet-tt self-test` passes on this machine, and fails if a backend computes wrong."""

import json

import numpy as np
import pytest

from bitnet_tt import BitNetModel

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
