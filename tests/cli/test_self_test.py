"""`bitnet-tt self-test` passes here, and fails where a backend computes wrong."""

import json

import numpy as np
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.cli.self_test import Bars
from bitnet_tt.reference.compare import Agreement


def test_this_machine_computes_right(run) -> None:
    result = run("self-test")
    assert result.exit_code == 0
    assert "PASS: this machine computes right." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json(run) -> None:
    report = json.loads(run("self-test", "--json", "--threads", "1").stdout)
    assert report["passed"] is True
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


def test_models_that_amplify_rounding_get_lower_bars() -> None:
    strict = Bars.of_contract(None)
    assert strict == Bars(0.9995, 5e-3, 1.0) == Bars.of_contract(Agreement(0.9999, 1e-3, 1.0, 1.0))
    assert Bars.of_contract(None, fast=True) == Bars(0.999, 5e-3, 1.0)
    agreement = Agreement(correlation=0.9989, mean_kl=0.1, top1=0.9, clear_top1=1.0)
    assert strict.met(agreement) == {"correlation": False, "mean_kl": False, "clear_top1": True}
    assert all(Bars.of_contract(Agreement(0.998, 0.4, 0.8, 1.0)).met(agreement).values())
