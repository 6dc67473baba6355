"""The screened lm_head finds every logit that passes a filter, with the bits of the whole row, for any weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Candidates, LogitFilter, Noise
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.weights import float32_to_bfloat16
from tests.backends.cpu.random_models import LLAMA, batch_of, random_model
from tests.engine.fake_backend import passing

CONFIG = replace(LLAMA, vocab_size=2503)
PROMPT = list(range(7, 60, 5))
FILTERS = [
    LogitFilter(count=1),
    LogitFilter(count=40),
    LogitFilter(count=1024),
    LogitFilter(noise=Noise(0, 12, 0, 1.0)),
    LogitFilter(count=8, noise=Noise(2**64 - 1, 2**32 - 1, 2**32 - 1, 0.25)),
    LogitFilter(noise=Noise(7, 5, 1, 1e30)),
    LogitFilter(noise=Noise(7, 5, 2, 1e-300)),
]


@pytest.fixture(autouse=True)
def every_head_is_screened(monkeypatch):
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)


def backend_with(head: np.ndarray, **options) -> CPUBackend:
    weights = replace(random_model(CONFIG), lm_head=float32_to_bfloat16(head.astype(np.float32)))
    backend = CPUBackend(CONFIG, weights, **options)
    backend.allocate(8, 8)
    return backend


def check(backend: CPUBackend, filters: list[LogitFilter]) -> list[Candidates]:
    """Compare the candidates of each filter, one row for each, with the same rows as a whole."""
    batch = batch_of([(PROMPT, 0, range(8))], range(len(PROMPT) - len(filters), len(PROMPT)))
    whole = backend.forward(batch).copy()
    backend.candidates(batch, filters)  # the first step computes whole rows
    rows = backend.candidates(batch, filters)
    for logits, row, limit in zip(whole, rows, filters, strict=True):
        token_ids = np.arange(len(logits)) if row.token_ids is None else row.token_ids
        np.testing.assert_array_equal(row.logits, logits[token_ids])
        assert np.all(np.diff(token_ids) > 0)
        if limit.passes_all:
            assert row.token_ids is None
            continue
        # With noise, all that must be here are the largest logit and the winner.
        needed = passing(logits, limit if limit.noise is None else replace(limit, count=1))
        assert np.isin(needed.token_ids, token_ids).all()
        if limit.noise is not None and row.token_ids is not None:
            missing = np.delete(np.arange(len(logits)), token_ids)
            assert row.missing.has_winner
            assert np.all(row.missing.upper_bounds()[missing] >= logits[missing])
            for some in (missing[::7], missing):
                np.testing.assert_array_equal(row.missing.compute(some), logits[some])
    return rows


def gaussian(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, (CONFIG.vocab_size, CONFIG.hidden_size))


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 3])
def test_candidates_are_equal_for_all_instruction_sets_and_threads(isa, threads):
    backend = backend_with(gaussian(), isa=isa, threads=threads)
    for _ in range(2):
        rows = check(backend, FILTERS)
        counts = [len(row.logits) for row, limit in zip(rows, FILTERS, strict=True) if limit.noise is None]
        assert counts == [1, 40, 1024]


@pytest.mark.parametrize("isa", available_isas())
def test_candidates_are_right_for_any_number_of_rows(isa):
    backend = backend_with(gaussian(), isa=isa)
    for rows in range(1, 11):
        check(backend, [FILTERS[row % len(FILTERS)] for row in range(rows)])


def test_a_head_with_too_many_columns_is_computed_whole(monkeypatch):
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.MAX_SCREENED_COLUMNS", CONFIG.hidden_size - 1)
    (row,) = check(backend_with(gaussian()), [LogitFilter(count=1)])
    assert row.token_ids is None


def test_most_of_the_head_is_not_read():
    rng = np.random.default_rng(1)
    # A few tokens stand out, as in a trained model.
    head = gaussian() + np.outer(rng.exponential(1.0, CONFIG.vocab_size) > 5, np.ones(CONFIG.hidden_size)) * 0.3
    backend = backend_with(head)
    check(backend, [LogitFilter(count=1)])
    assert 0 < backend.stats().head_bytes_read < head.size * 2 / 2


def test_a_filter_that_passes_every_logit_reads_screen_and_weights():
    backend = backend_with(gaussian())
    assert backend.stats().screen_bytes == 0
    check(backend, [LogitFilter(count=CONFIG.vocab_size)])
    assert backend.stats().head_bytes_read == backend.stats().screen_bytes + CONFIG.vocab_size * 2 * CONFIG.hidden_size


def test_more_logits_than_can_be_deferred(monkeypatch):
    """Rows are so similar that no bound rules any out, but now and then one is the largest so far."""
    config = replace(CONFIG, vocab_size=9001)
    monkeypatch.setattr(f"{__name__}.CONFIG", config)
    backend = backend_with(gaussian()[:1] + 1e-3 * gaussian())
    check(backend, [LogitFilter(count=1), LogitFilter(count=3), LogitFilter(noise=Noise(1, 2, 3, 1e-3))])
    assert backend.stats().logits_computed > config.vocab_size


@pytest.mark.parametrize("threads", [1, 3])
def test_stats_count_computed_logits(threads):
    backend = backend_with(gaussian(), threads=threads)
    batch = batch_of([(PROMPT, 0, range(8))], [3, 7])
    backend.forward(batch)
    assert backend.stats().logits_computed == 2 * CONFIG.vocab_size
    filters = [LogitFilter(count=9), LogitFilter(noise=Noise(1, 2, 3, 1.0))]
    backend.candidates(batch, filters)  # the first step computes whole rows
    rows = backend.candidates(batch, filters)
    computed = backend.stats().logits_computed
    assert sum(len(row.logits) for row in rows) <= computed < 2 * CONFIG.vocab_size
    assert backend.stats().head_bytes_read == backend.stats().screen_bytes + computed * 2 * CONFIG.hidden_size
    rows[1].missing.compute(np.arange(5))
    assert backend.stats().logits_computed == computed + 5
    rows[1].missing.compute(np.arange(CONFIG.vocab_size))
    assert backend.stats().logits_computed == computed + 5 + CONFIG.vocab_size


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    seed=st.integers(0, 999),
    outliers=st.floats(0, 100),
    zero_rows=st.floats(0, 1),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e4]),
    filters=st.lists(st.sampled_from(FILTERS), min_size=1, max_size=9),
)
def test_candidates_are_right_for_any_weights(seed, outliers, zero_rows, scale, filters):
    rng = np.random.default_rng(seed)
    head = gaussian(seed) * rng.lognormal(0, 1, (CONFIG.vocab_size, 1))
    head[rng.random(head.shape) < 0.01] *= outliers
    head[rng.random(CONFIG.vocab_size) < zero_rows] = 0
    check(backend_with(head * scale), filters)


def test_of_equal_logits_the_lowest_ids_pass():
    head = np.repeat(gaussian()[:1], CONFIG.vocab_size, axis=0)
    for threads in (1, 3):
        (row,) = check(backend_with(head, threads=threads), [LogitFilter(count=5)])
        assert row.token_ids.tolist() == [0, 1, 2, 3, 4]


def test_a_flat_row_keeps_its_winner():
    """All logits are nearly equal, so that many may win. More than a row's candidates have room for are computed."""
    config = replace(CONFIG, vocab_size=30_000)
    weights = replace(
        random_model(config), lm_head=float32_to_bfloat16(np.full((30_000, config.hidden_size), 0.01, np.float32))
    )
    backend = CPUBackend(config, weights, threads=3)
    backend.allocate(8, 8)
    batch = batch_of([(PROMPT, 0, range(8))], [5])
    backend.candidates(batch, [LogitFilter(count=1)])  # the first step computes whole rows
    for seed in range(5):
        limit = LogitFilter(noise=Noise(seed, 1, 0, 1e-4))
        (row,) = backend.candidates(batch, [limit])
        whole = backend.forward(batch)[0]
        if row.token_ids is not None:
            assert np.isin(passing(whole, limit).token_ids, row.token_ids).all()


def test_a_head_that_is_not_finite_is_computed_whole():
    head = gaussian()
    head[1200, 5] = np.inf
    batch = batch_of([(PROMPT, 0, range(8))], [3])
    backend = backend_with(head)
    for _ in range(3):
        (row,) = backend.candidates(batch, [LogitFilter(count=1)])
        assert row.token_ids is None


def test_a_filter_that_passes_all_gives_whole_rows():
    rows = check(backend_with(gaussian()), [LogitFilter(count=1), LogitFilter()])
    assert [row.token_ids for row in rows] == [None, None]
