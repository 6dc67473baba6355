"""`python -m tools.compare` prints our tables and llama.cpp's, or says what is missing before it measures."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bitnet_tt.bench import BenchmarkResult, Settings
from bitnet_tt.bench.report.results import Roof
from tests.bench.small import RESULT, SHAPE
from tests.tools.compare.small import PEER
from tools.compare.peers import PeerResult

compare = importlib.import_module("tools.compare.__main__")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace both measurements by given results; the list gets what was asked for."""
    calls: list[Any] = []

    def run_benchmark(model: Path, settings: Settings, **_: object) -> BenchmarkResult:
        calls.append((model, settings))
        return RESULT

    def measure_peer(
        model: Path, settings: Settings, roofs: Sequence[Roof], *, folder: Path, **_: object
    ) -> tuple[PeerResult, ...]:
        calls.append((model, settings, roofs, folder))
        return (PEER,)

    monkeypatch.setattr(compare, "check_installed", lambda: None)
    monkeypatch.setattr(compare, "run_benchmark", run_benchmark)
    monkeypatch.setattr(compare, "measure_peer", measure_peer)
    return calls


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(compare.app, arguments, catch_exceptions=False)


def test_both_programs_get_the_same_work(measured: list[Any], tmp_path: Path) -> None:
    options = ["--threads", "2", "--batch", "4", "--prompt-length", "9", "--context", "8", "--new-tokens", "7"]
    result = run("--synthetic", SHAPE, "--cache-dir", str(tmp_path), "--repeats", "2", *options)
    assert result.exit_code == 0
    model = tmp_path / f"synthetic-{SHAPE}"
    settings = Settings((2,), (4,), prompt_length=9, context=8, new_tokens=7, repeats=2, device="cpu")
    assert measured == [(model, settings), (model, settings, RESULT.roofs, tmp_path)]
    assert (model / "model.safetensors").is_file()


def test_a_table_compares_the_same_settings(measured: list[Any]) -> None:
    text = run().stdout
    assert text.startswith("demo on cpu")
    own, comparison = text.split("Compared with peer 1.2 (TQ2_0), tokens/s\n\n")
    assert "Limits of this machine" in own
    rows = [line.split() for line in comparison.splitlines()]
    assert rows[1] == ["prompt", "2", "1", "50.0", "25.0", "2.00", "-", "0.90"]
    assert rows[2] == ["generation", "2", "1", "10.0", "4.0", "2.50", "16%", "0.90"]
    assert max(map(len, text.splitlines())) <= 80


def test_json_has_the_fields_of_bench_and_the_peers(measured: list[Any]) -> None:
    report = json.loads(run("--json").stdout)
    assert report["model"] == "demo"
    assert report["roofs"]["read_gb_s"] == 20.0
    assert [peer["decode"][0]["tokens_per_s"] for peer in report["peers"]] == [4.0]


def test_a_missing_library_is_reported_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(compare, "run_benchmark", None)
    result = run()
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: llama-cpp-python is not installed; install it with: uv pip install 'llama-cpp"
    )
    assert result.stderr.count("\n") == 1


def test_other_bench_programs_have_tables_of_their_own(
    measured: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "llama-bench"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ik = replace(PEER, name="ik_llama.cpp", load_s=None)
    asked: list[Any] = []

    def measure_llama_bench(bench: Any, settings: Settings, *_: object) -> tuple[PeerResult, ...]:
        asked.append((bench.name, bench.program))
        return (replace(ik, name=bench.name),)

    monkeypatch.setattr(compare, "measure_llama_bench", measure_llama_bench)
    both = ["--ik-llama-bench", str(program), "--ik-llama-model", str(program)]
    both += ["--bitnet-cpp-bench", str(program), "--bitnet-cpp-model", str(program)]
    text = run(*both).stdout
    assert asked == [("ik_llama.cpp", program), ("bitnet.cpp", program)]
    for name in ("peer", "ik_llama.cpp", "bitnet.cpp"):
        assert f"Compared with {name} 1.2" in text
    measured.clear()
    report = json.loads(run("--no-llama-cpp", "--json", *both).stdout)
    assert [peer["name"] for peer in report["peers"]] == ["ik_llama.cpp", "bitnet.cpp"]
    assert len(measured) == 1  # only our own


def test_a_bench_program_needs_its_model(measured: list[Any], tmp_path: Path) -> None:
    result = run("--ik-llama-bench", str(tmp_path / "llama-bench"))
    assert result.exit_code == 2
    assert "--ik-llama-bench and --ik-llama-model belong together" in result.stderr
    assert measured == []


def test_help_fits_80_columns() -> None:
    text = run("--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "python -m tools.compare" in text
