"""llama.cpp gets the same work as our own program, and its times become speeds with the shares of its own bytes.

The library is a fake here: it records the steps that it is asked to compute.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitnet_tt.bench import Settings
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.errors import BenchmarkError
from tests.bench.small import CONFIG, ROOF, SHAPE
from tests.tools.compare.small import PEER
from tools.compare import peers, run_llama_cpp

SETTINGS = Settings(threads=(2,), batches=(1, 2), prompt_length=600, context=5, new_tokens=4, repeats=2)


class FakeLibrary:
    """The functions of llama_cpp that are called. A step is a list of (position, sequence, with logits)."""

    LLAMA_FTYPE_MOSTLY_TQ2_0, GGML_TYPE_Q6_K = 37, 14

    def __init__(self) -> None:
        self.steps: list[list[tuple[int, int, bool]]] = []
        self.settings = SimpleNamespace()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: 1

    def llama_context_default_params(self) -> SimpleNamespace:
        return self.settings

    def llama_batch_init(self, tokens: int, embedding: int, sequences: int) -> SimpleNamespace:
        rows = [[0] * sequences for _ in range(tokens)]
        lists = {name: [0] * tokens for name in ("token", "pos", "n_seq_id", "logits")}
        return SimpleNamespace(n_tokens=0, seq_id=rows, **lists)

    def llama_decode(self, context: object, batch: SimpleNamespace) -> int:
        indices = range(batch.n_tokens)
        self.steps.append([(batch.pos[i], batch.seq_id[i][0], bool(batch.logits[i])) for i in indices])
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setitem(sys.modules, "llama_cpp", fake)
    return fake


def test_it_computes_the_same_steps_as_we_do(library: FakeLibrary) -> None:
    work = {"threads": 2, "batches": [2], "prompt_length": 600, "context": 5, "new_tokens": 4, "repeats": 1}
    result = run_llama_cpp.measure(Path("model.gguf"), work)
    assert (library.settings.n_threads, library.settings.n_threads_batch, library.settings.n_seq_max) == (2, 2, 2)
    warm_up, first, second, *rest = library.steps
    assert len(warm_up) == 1
    assert first + second == [(position, 0, position == 599) for position in range(600)]
    assert rest[:2] == [[(position, sequence, position == 4) for position in range(5)] for sequence in (0, 1)]
    assert rest[2:] == [[(position, 0, True), (position, 1, True)] for position in range(5, 9)]
    assert len(result["prefill"]) == len(result["decode"][2]) == 1
    assert result["peak_rss_bytes"] > 0


def test_times_become_speeds_with_the_bytes_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake_run(arguments: list[str]) -> str:
        calls.append(arguments)
        if arguments[0] == "quantize":
            Path(arguments[2]).write_bytes(Path(arguments[1]).read_bytes())
            return ""
        decode = {"1": [0.5, 0.25], "2": [1.0, 1.0]}
        return json.dumps({"load_s": 0.1, "prefill": [2.0, 3.0], "decode": decode, "peak_rss_bytes": 7})

    monkeypatch.setattr(peers, "run_llama_cpp", fake_run)
    monkeypatch.setattr(peers, "version", lambda name: "9")
    model = synthetic_checkpoint(SHAPE, tmp_path)
    result = peers.run_peer(model, SETTINGS, 2, tmp_path)
    assert result == peers.run_peer(model, SETTINGS, 2, tmp_path)
    assert [call[0] == "quantize" for call in calls] == [True, False, False]  # the file is used again
    assert (result.version, result.load_s, result.peak_rss_bytes) == ("9", 0.1, 7)
    assert result.prefill.tokens_per_s == 250
    assert (result.prefill.least, result.prefill.greatest) == (200, 300)
    assert [speed.tokens_per_s for speed in result.decode] == [12, 8]
    ternary = CONFIG.ternary_weights // 256 * 66
    norms = (2 * (3 * 256 + 512) + 256) * 4
    assert result.weight_bytes == ternary + norms + 64 * 256 * 2
    cache = 2 * 2 * 2 * 64 * 2 * 7
    assert [speed.bytes_per_step for speed in result.decode] == [result.weight_bytes + n * cache for n in (1, 2)]


def test_a_peer_gets_the_share_of_its_own_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fake_run(model: Path, settings: Settings, threads: int, folder: Path) -> peers.PeerResult:
        prefill = replace(PEER.prefill, threads=threads)
        decode = tuple(replace(speed, threads=threads, bandwidth_share=None) for speed in PEER.decode)
        return replace(PEER, prefill=prefill, decode=decode)

    monkeypatch.setattr(peers, "run_peer", fake_run)
    settings = replace(SETTINGS, threads=(1, 2))
    roofs = [replace(ROOF, threads=1, read_gb_s=replace(ROOF.read_gb_s, median=8.0)), ROOF]
    calls: list[tuple[int, int]] = []
    results = peers.measure_peer(
        tmp_path, settings, roofs, folder=tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert [peer.prefill.threads for peer in results] == [1, 2]
    for peer, roof in zip(results, roofs, strict=True):
        assert peer.decode[0].bandwidth_share == pytest.approx(4.0 / roof.read_gb_s.median)
        assert peer.decode[0].int8_share is None
    assert calls == [(0, 2), (1, 2)]


def test_it_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match=r"not installed.*pip install 'llama-cpp-python"):
        peers.check_installed()


def test_its_own_message_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "noise\nllama.cpp cannot load x.gguf\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(BenchmarkError, match=r"llama.cpp cannot load x.gguf; check that its version"):
        peers.run_llama_cpp(["x.gguf", "{}"])


def test_it_runs_as_a_program_of_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama-cpp-python, the real program gets as far as its import; it starts from any working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(broken_library(tmp_path)))
    with pytest.raises(BenchmarkError, match="ImportError: a library that cannot be loaded"):
        peers.run_llama_cpp(["quantize", "a.gguf", "b.gguf", "1"])


def broken_library(folder: Path) -> Path:
    """A folder with a llama_cpp that fails when it is imported, wherever the real one may be installed."""
    (folder / "llama_cpp.py").write_text("raise ImportError('a library that cannot be loaded')\n")
    return folder
