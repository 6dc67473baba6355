"""`bitnet-tt bench` prints tables or JSON of what it measured, on the demo model and on a small random one."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.bench.small import SHAPE

QUICK = ["--threads", "1", "--prompt-length", "4", "--context", "3", "--new-tokens", "2", "--repeats", "1"]


def test_it_measures_the_demo(run) -> None:
    result = run("bench", *QUICK, "--profile")
    assert result.exit_code == 0
    assert result.stdout.startswith("demo on cpu")
    for title in ("Limits of this machine", "Prompt of 4", "Generation of 2 tokens after 3", "Prefill, 1 thread"):
        assert title in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_random_model_is_made_and_measured_as_asked(run, tmp_path: Path) -> None:
    more = ["--batch", "1", "--batch", "2", "--busy", "1", "--plot", str(tmp_path / "bench.png"), "--json"]
    arguments = ["bench", "--synthetic", SHAPE, "--cache-dir", str(tmp_path / "cache"), *QUICK, *more]
    report = json.loads(run(*arguments).stdout)
    assert report["model"] == f"random {SHAPE}"
    assert report["roofs"]["read_gb_s"] == report["roofs"]["by_threads"][0]["read_gb_s"]["median"] > 0
    assert report["roofs"]["int8_gops"] > 0
    assert [speed["batch"] for speed in report["decode"]] == [1, 2]
    for speed in report["decode"]:
        assert {"threads", "tokens_per_s", "least", "greatest", "bandwidth_share"} <= speed.keys()
    assert report["prefill"][0]["int8_share"] > 0
    assert report["memory"]["peak_rss_bytes"] > report["memory"]["weight_bytes"]
    assert report["first_token_s"] > report["load_s"] > 0
    assert report["busy"]["processes"] == 1
    assert "peers" not in report
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"cache/synthetic-{SHAPE}/model.safetensors").is_file()


def test_more_is_measured_on_request(run) -> None:
    report = json.loads(run("bench", *QUICK, "--verify-rows", "--stall", "--start", "--json").stdout)
    assert {one["context"] for one in report["verify_rows"]} == {3, 128}
    assert [one["texts"] for one in report["stalls"]] == [8]
    assert [(one["threads"], one["prompt_tokens"]) for one in report["starts"]] == [(1, 16)]


def test_a_random_model_gets_a_tokenizer_for_its_start(run, tmp_path: Path) -> None:
    shape = SHAPE.replace("vocab=64", "vocab=1024")
    arguments = ["bench", "--synthetic", shape, "--cache-dir", str(tmp_path), *QUICK, "--start", "--json"]
    (start,) = json.loads(run(*arguments).stdout)["starts"]
    assert start["seconds"] > start["load_s"] > start["tokenizer_s"] > 0
    assert (tmp_path / f"synthetic-{shape}/tokenizer.json").is_file()
    refused = run("bench", "--synthetic", SHAPE, "--cache-dir", str(tmp_path), *QUICK, "--start")
    assert refused.exit_code == 1
    assert "needs a vocabulary of at least" in refused.stderr


def test_another_entropy_is_for_random_models(run) -> None:
    result = run("bench", *QUICK, "--head-entropy", "1")
    assert result.exit_code == 2
    assert "needs --synthetic" in result.stderr


def test_a_missing_extra_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    result = run("bench", *QUICK, "--plot", "x.png")
    assert result.exit_code == 1
    assert "extra [bench]" in result.stderr


def test_an_unknown_shape_is_refused(run) -> None:
    result = run("bench", "--synthetic", "9b", *QUICK)
    assert result.exit_code == 1
    assert "known shapes: 2b4t" in result.stderr


@pytest.mark.parametrize(("watts", "message"), [("49", "--tdp-limit"), ("501", "--tdp-limit"), ("100", "--device tt")])
def test_a_limit_of_power_is_checked(run, watts: str, message: str) -> None:
    result = run("bench", *QUICK, "--tdp-limit", watts)
    assert result.exit_code == 2
    assert message in result.stderr
