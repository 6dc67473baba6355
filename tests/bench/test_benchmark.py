"""A whole benchmark of a small model: that its parts fit together, not how fast it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitnet_tt.bench import BenchmarkResult, Settings, benchmark, run_benchmark
from bitnet_tt.bench.measure import roofs
from bitnet_tt.bench.measure.runs import Run, run
from bitnet_tt.bench.report.results import PeerResult
from bitnet_tt.bench.report.shares import operations_per_token, ternary_weights
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.engine import BLOCK_SIZE
from bitnet_tt.errors import BenchmarkError
from tests.bench.small import CONFIG, RESULT, SHAPE
from tools.compare import peers

SETTINGS = Settings(
    threads=(1, 2), batches=(1, 3), prompt_length=8, context=4, new_tokens=3, repeats=2, busy=1, isa="scalar"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_checkpoint(SHAPE, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def result(model: Path) -> BenchmarkResult:
    """Measured in this process and the machine roughly, to take no time to speak of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "_in_process", lambda function, *arguments: function(*arguments))
        patch.setattr(roofs, "_READ_BYTES", 1 << 22)
        patch.setattr(roofs, "_INT8_SECONDS", 0.001)
        patch.setattr(peers, "check", lambda peer: None)
        patch.setattr(peers, "run", fake_peer)
        return run_benchmark(model, SETTINGS, compare="llama-cpp-python", folder=model.parent)


def fake_peer(peer: str, model: Path, settings: Settings, threads: int, folder: Path) -> PeerResult:
    (peer_result,) = RESULT.peers
    prefill = replace(peer_result.prefill, threads=threads, int8_share=None)
    decode = tuple(replace(speed, threads=threads, bandwidth_share=None) for speed in peer_result.decode)
    return replace(peer_result, prefill=prefill, decode=decode)


def test_there_is_a_row_for_every_setting(result: BenchmarkResult) -> None:
    assert [roof.threads for roof in result.roofs] == [1, 2]
    assert [(speed.threads, speed.batch) for speed in result.prefill] == [(1, 1), (2, 1)]
    assert [(speed.threads, speed.batch) for speed in result.decode] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert result.busy is not None
    assert [(speed.threads, speed.batch) for speed in result.busy.decode] == [(1, 1), (2, 1)]
    phases = [("prefill", 1), ("decode", 1), ("decode", 3)]
    assert [(one.phase, one.batch) for one in result.profiles] == phases * 2


def test_rates_are_positive_and_ordered(result: BenchmarkResult) -> None:
    speeds = (*result.prefill, *result.decode, *result.busy.prefill, *result.busy.decode)
    assert all(0 < speed.least <= speed.tokens_per_s <= speed.greatest for speed in speeds)
    assert 0 < result.load_s < result.first_token_s
    assert result.memory.peak_rss_bytes > result.memory.weight_bytes > ternary_weights(CONFIG) // 4


def test_shares_follow_from_what_the_backend_counts(result: BenchmarkResult) -> None:
    decode = result.decode[0]
    profile = next(one for one in result.profiles if (one.phase, one.threads, one.batch) == ("decode", 1, 1))
    assert decode.bytes_per_step == sum(part.bytes_read for part in profile.parts) > result.ternary_bytes
    roof = result.roofs[0]
    bytes_per_s = decode.bytes_per_step * decode.tokens_per_s
    assert decode.bandwidth_share == pytest.approx(bytes_per_s / roof.read_gb_s.median / 1e9)
    for speed in (*result.prefill, *result.decode):
        operations_per_s = operations_per_token(CONFIG) * speed.tokens_per_s
        peak = next(one for one in result.roofs if one.threads == speed.threads).int8_gops.median * 1e9
        assert speed.int8_share == pytest.approx(operations_per_s / peak)


def test_a_small_head_is_computed_whole(result: BenchmarkResult) -> None:
    assert [speed.head_rows_rescored for speed in result.decode] == [1.0] * 4


def test_a_screened_head_computes_some_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    model = synthetic_checkpoint(SHAPE.replace("vocab=64", "vocab=4096"), tmp_path)
    prompt, *steps = run(model, replace(SETTINGS, busy=0), 1).profiles
    assert prompt.head_rows_rescored is None
    assert all(1 / 4096 <= step.head_rows_rescored < 1 for step in steps)


def test_memory_is_of_the_smallest_batch(result: BenchmarkResult) -> None:
    assert result.memory.screen_bytes == 0
    heads = 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads
    assert result.memory.kv_cache_bytes == BLOCK_SIZE * heads * CONFIG.head_dim * 4
    assert 0 < result.memory.interpreter_bytes <= result.memory.peak_rss_bytes


def test_a_peer_gets_the_share_of_its_own_bytes(result: BenchmarkResult) -> None:
    assert [peer.prefill.threads for peer in result.peers] == [1, 2]
    for peer, roof in zip(result.peers, result.roofs, strict=True):
        assert peer.decode[0].bandwidth_share == pytest.approx(4.0 / roof.read_gb_s.median)


def test_a_card_is_not_held_against_the_cpus_roofs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_process(function: Callable[..., Run], model: Path, settings: Settings, threads: int) -> Run:
        assert function is run
        return run(model, replace(settings, device="cpu"), threads)

    monkeypatch.setattr(benchmark, "_in_process", in_process)
    settings = replace(SETTINGS, device="tt", threads=(1,), batches=(1,), busy=0)
    result = run_benchmark(model, settings, folder=model.parent)
    assert result.roofs == ()
    assert result.decode[0].bandwidth_share is None


def test_a_missing_peer_is_told_before_anything_is_measured(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(benchmark, "_in_process", None)
    with pytest.raises(BenchmarkError, match="not installed"):
        run_benchmark(model, SETTINGS, compare="llama-cpp-python", folder=model.parent)
