"""A benchmark of a small model has a row for every setting, and its parts agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.bench import BenchmarkResult, Settings, benchmark, run_benchmark
from bitnet_tt.bench.measure import roofs
from bitnet_tt.bench.measure.head_entropy import scale_norm
from bitnet_tt.bench.measure.runs import Run, run
from bitnet_tt.bench.measure.sampling import SAMPLING
from bitnet_tt.bench.report.shares import operations_per_token
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.engine import BLOCK_SIZE
from tests.bench.small import CONFIG, SHAPE

SETTINGS = Settings(
    threads=(1, 2),
    batches=(1, 3),
    prompt_length=8,
    context=4,
    new_tokens=3,
    repeats=2,
    busy=1,
    sampling=True,
    verify_rows=True,
    stall=(1, 2),
    isa="scalar",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_checkpoint(SHAPE, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def result(model: Path) -> BenchmarkResult:
    """Measure in this process, and the roofs only roughly: this takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "in_fresh_process", lambda function, *arguments: function(*arguments))
        patch.setattr(roofs, "READ_BYTES", 1 << 22)
        patch.setattr(roofs, "INT8_SECONDS", 0.001)
        return run_benchmark(model, SETTINGS)


def test_there_is_a_row_for_every_setting(result: BenchmarkResult) -> None:
    assert [roof.threads for roof in result.roofs] == [1, 2]
    assert [(speed.threads, speed.batch) for speed in result.prefill] == [(1, 1), (2, 1)]
    assert [(speed.threads, speed.batch) for speed in result.decode] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert result.busy is not None
    assert [(speed.threads, speed.batch) for speed in result.busy.decode] == [(1, 1), (2, 1)]
    assert [(one.name, one.threads) for one in result.sampling] == [(name, n) for n in (1, 2) for name in SAMPLING]
    kinds = [(context, rows) for context in (4, 128) for rows in (1, 2, 4, 8)]
    of_one_text = [(one.threads, one.context, one.rows) for one in result.verify_rows if one.sequences == 1]
    assert of_one_text == [(threads, *kind) for threads in (1, 2) for kind in kinds]
    assert [(one.threads, one.texts) for one in result.stalls] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert result.starts == ()
    phases = [("prefill", 1), ("decode", 1), ("decode", 3)]
    assert [(one.phase, one.batch) for one in result.profiles] == phases * 2


def test_rates_are_positive_and_ordered(result: BenchmarkResult) -> None:
    speeds = (*result.prefill, *result.decode, *result.busy.prefill, *result.busy.decode)
    assert all(0 < speed.least <= speed.tokens_per_s <= speed.greatest for speed in speeds)
    assert 0 < result.load_s < result.first_token_s
    assert result.memory.peak_rss_bytes > result.memory.weight_bytes > CONFIG.ternary_weights // 4


def test_sampling_is_compared_with_greedy_picks(result: BenchmarkResult) -> None:
    for threads in (1, 2):
        greedy, *others = (one for one in result.sampling if one.threads == threads)
        assert (greedy.name, greedy.share) == ("greedy", 1.0)
        for one in others:
            assert one.share == pytest.approx(one.tokens_per_s / greedy.tokens_per_s)
            assert 0 < one.head_rows <= 1


@pytest.mark.parametrize("nats", [1.0, 4.0])
def test_the_head_gets_the_entropy_that_was_asked_for(model: Path, nats: float) -> None:
    checkpoint = Checkpoint.open(model)
    weights, config = checkpoint.load_weights(), checkpoint.config
    with closing(CPUBackend(config, weights)) as backend:
        scaled = scale_norm(weights, backend, config.vocab_size, nats)
    with closing(CPUBackend(config, scaled)) as backend:
        assert scale_norm(scaled, backend, config.vocab_size, nats).norm == pytest.approx(scaled.norm, rel=1e-4)
        again = scale_norm(scaled, backend, config.vocab_size, nats / 2)
    assert (again.norm > scaled.norm).all()  # larger logits have a smaller entropy


def test_shares_follow_from_the_bytes_that_the_backend_counts(result: BenchmarkResult) -> None:
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


def test_all_rows_of_a_small_lm_head_are_computed(result: BenchmarkResult) -> None:
    assert [speed.head_rows_rescored for speed in result.decode] == [1.0] * 4


def test_a_screened_lm_head_computes_some_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    model = synthetic_checkpoint(SHAPE.replace("vocab=64", "vocab=4096"), tmp_path)
    prompt, *steps = run(model, replace(SETTINGS, busy=0), 1).profiles
    assert prompt.head_rows_rescored is None
    assert all(1 / 4096 <= step.head_rows_rescored < 1 for step in steps)


def test_the_kv_cache_is_that_of_the_smallest_batch(result: BenchmarkResult) -> None:
    assert result.memory.screen_bytes == 0
    heads = 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads
    assert result.memory.kv_cache_bytes == BLOCK_SIZE * heads * CONFIG.head_dim * 4
    assert 0 < result.memory.interpreter_bytes <= result.memory.peak_rss_bytes


def test_a_card_has_no_shares_of_the_cpus_roofs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_process(function: Callable[..., Run], model: Path, settings: Settings, threads: int) -> Run:
        assert function is run
        return run(model, replace(settings, device="cpu"), threads)

    monkeypatch.setattr(benchmark, "in_fresh_process", in_process)
    settings = replace(SETTINGS, device="tt", threads=(1,), batches=(1,), busy=0)
    result = run_benchmark(model, settings)
    assert result.roofs == ()
    assert result.decode[0].bandwidth_share is None
