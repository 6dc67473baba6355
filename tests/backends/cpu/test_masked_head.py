"""With masks, and tokens that always pass, the tokens are those of whole rows with -inf where nothing is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Candidates, LogitFilter, Noise
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.backends.masks import ids_of, mask_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError
from bitnet_tt.sampling import RandomNumbers, Text, logit_filter, sample
from bitnet_tt.weights import float32_to_bfloat16
from tests.backends.cpu.random_models import LLAMA, batch_of, random_model
from tests.engine.fake_backend import late, passing

CONFIG = replace(LLAMA, vocab_size=2503)
PROMPT = list(range(7, 60, 5))
DENSITIES = (0.0004, 0.01, 0.1, 0.3, 0.9, 1.0)
SETTINGS = (
    GenerationConfig(),
    GenerationConfig(temperature=0.8, top_k=40),
    GenerationConfig(temperature=1.0),
    GenerationConfig(temperature=0.3, top_p=0.9),
    GenerationConfig(temperature=0.7, min_p=0.05),
    GenerationConfig(repetition_penalty=1.3),
    GenerationConfig(temperature=0.3, top_p=0.9, presence_penalty=1.5, frequency_penalty=0.5),
    GenerationConfig(temperature=0.8, top_k=5, logit_bias={3: 20.0, 2500: -100.0, 90: -5.0}),
)


@pytest.fixture(autouse=True)
def every_head_is_screened(monkeypatch):
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)


def make_backend(seed: int = 0, **options: object) -> CPUBackend:
    head = np.random.default_rng(seed).normal(0, 0.3, (CONFIG.vocab_size, CONFIG.hidden_size)).astype(np.float32)
    backend = CPUBackend(CONFIG, replace(random_model(CONFIG), lm_head=float32_to_bfloat16(head)), **options)
    backend.allocate(8, 8)
    batch = batch_of([(PROMPT, 0, range(8))], [3])
    backend.candidates(batch, [LogitFilter(count=1)])  # the first step computes whole rows
    return backend


def random_mask(seed: int, density: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ids = np.flatnonzero(rng.random(CONFIG.vocab_size) < density)
    return mask_of(np.union1d(ids, rng.integers(0, CONFIG.vocab_size, 1)), CONFIG.vocab_size)


def run(backend: CPUBackend, filters: list[LogitFilter]) -> tuple[np.ndarray, list[Candidates]]:
    """Return whole rows, and the candidates of the same rows."""
    batch = batch_of([(PROMPT, 0, range(8))], range(len(PROMPT) - len(filters), len(PROMPT)))
    whole = backend.forward(batch).copy()
    return whole, backend.candidates(batch, filters)


def check_tokens(backend: CPUBackend, settings_: list[GenerationConfig], masks: list[np.ndarray | None]) -> None:
    """Compare the tokens of a step with those of whole rows that have -inf where no token is allowed."""
    text = Text([5, 9, 3, 90, 3, 90], 3)
    for choice in range(5):
        numbers = RandomNumbers(1, choice)
        filters = [
            logit_filter(config, text, numbers, late(mask)) for config, mask in zip(settings_, masks, strict=True)
        ]
        whole, rows = run(backend, filters)
        for logits, row, config, mask in zip(whole, rows, settings_, masks, strict=True):
            masked = np.full_like(logits, -np.inf)
            ids = np.arange(len(logits)) if mask is None else ids_of(mask, len(logits))
            masked[ids] = logits[ids]
            expected = sample(Candidates(masked), config, text, numbers)
            assert sample(row, config, text, numbers, mask) == expected


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("density", DENSITIES)
def test_tokens_are_those_of_masked_rows_on_every_instruction_set(isa: str, density: float) -> None:
    backend = make_backend(isa=isa, threads=2)
    for seed, config in enumerate(SETTINGS):
        check_tokens(backend, [config], [random_mask(seed, density)])
    check_tokens(backend, list(SETTINGS), [random_mask(seed, density) for seed in range(len(SETTINGS))])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(SETTINGS), st.one_of(st.none(), st.sampled_from(DENSITIES))), min_size=1, max_size=9
    ),
    st.integers(0, 999),
    st.sampled_from([1, 3]),
)
def test_rows_with_any_masks_share_a_step(
    rows: list[tuple[GenerationConfig, float | None]], seed: int, threads: int
) -> None:
    masks = [None if density is None else random_mask(seed + i, density) for i, (_, density) in enumerate(rows)]
    check_tokens(make_backend(seed, threads=threads), [config for config, _ in rows], masks)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.sampled_from(
        [LogitFilter(count=3), LogitFilter(noise=Noise(3, 5, 1, 0.25)), LogitFilter(noise=Noise(4, 5, 1, 2.0))]
    ),
    st.one_of(st.none(), st.sampled_from(DENSITIES)),
    st.sets(st.integers(0, CONFIG.vocab_size - 1), max_size=20),
    st.integers(0, 999),
)
def test_candidates_are_those_that_pass(limit: LogitFilter, density: float | None, some: set[int], seed: int) -> None:
    allowed = None if density is None else random_mask(seed, density)
    limit = replace(limit, allowed=late(allowed), always=np.array(sorted(some), np.int64))
    (logits,), (row,) = run(make_backend(seed), [limit])
    expected = passing(logits, limit)
    assert row.token_ids is not None
    np.testing.assert_array_equal(row.logits, logits[row.token_ids])
    assert np.all(np.diff(row.token_ids) > 0)
    assert np.isin(expected.token_ids, row.token_ids).all()
    inside = np.arange(len(logits)) if allowed is None else ids_of(allowed, len(logits))
    assert np.isin(row.token_ids, inside).all()
    missing = np.setdiff1d(inside, row.token_ids)
    if row.missing is not None:
        assert np.all(row.missing.upper_bounds()[missing] >= logits[missing])
        np.testing.assert_array_equal(row.missing.compute(missing), logits[missing])


@pytest.mark.parametrize("threads", [1, 3])
def test_few_allowed_tokens_take_nothing_but_their_weights(threads: int) -> None:
    backend = make_backend(threads=threads)
    mask = mask_of(np.array([0, 5, 77, 1200, 2502]), CONFIG.vocab_size)
    _, (row,) = run(backend, [LogitFilter(allowed=late(mask))])
    assert row.token_ids is not None
    assert row.token_ids.tolist() == [0, 5, 77, 1200, 2502]
    assert backend.stats().logits_computed == 5
    assert backend.stats().head_bytes_read == 5 * 2 * CONFIG.hidden_size


def test_a_mask_for_another_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="2503 takes 79"):
        run(make_backend(), [LogitFilter(allowed=late(np.ones(78, np.uint32)))])


def test_the_layers_run_before_the_mask_is_asked_for() -> None:
    """Another thread may compute it meanwhile. Here the layers refuse the batch."""
    asked: list[str] = []
    backend = make_backend()
    with pytest.raises(RequestError, match="vocabulary"):
        backend.candidates(
            batch_of([([CONFIG.vocab_size], 0, range(8))]), [LogitFilter(count=1, allowed=lambda: asked.append("mask"))]
        )
    assert asked == []


@pytest.mark.parametrize("limit", [LogitFilter(count=1), LogitFilter()])
def test_a_mask_that_failed_allows_all(limit: LogitFilter) -> None:
    backend = make_backend()
    (logits,), (row,) = run(backend, [replace(limit, allowed=lambda: None)])
    assert row.logits.max() == logits.max()
