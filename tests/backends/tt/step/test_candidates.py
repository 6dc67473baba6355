"""The largest logits of each vocabulary part give the same tokens as whole rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter, Noise
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.candidates import NO_TOKEN, read_candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomNumbers, Text, logit_filter, sample
from tests.backends.tt.planning.plans import CONFIG_2B4T

PLAN = Plan(replace(CONFIG_2B4T, vocab_size=4007), SMALLEST_P150, "fast", 128)
EMPTY = Text([], 0)
NUCLEUS = LogitFilter(count=8, noise=Noise(1, 2, 0, 1.0))


def found_by_device(row: NDArray[np.float32], count: int) -> NDArray[np.uint32]:
    """Return what `lm_head` finds in a row, [parts, 1, count, 2]. The bits of empty entries have no meaning."""
    parts, tiles = PLAN.vocabulary_parts
    entries = np.full((parts, 1, count, 2), NO_TOKEN, np.uint32)
    for part in range(parts):
        first = part * tiles * 32
        ids = first + np.argsort(-row[first : first + tiles * 32], kind="stable")[:count]
        entries[part, 0, : len(ids)] = np.stack([row[ids].view(np.uint32), ids], axis=1)
    return entries


def read(row: NDArray[np.float32], limit: LogitFilter, whole_rows: list[int] | None = None) -> Candidates:
    count = PLAN.head_output([limit], rows_stay=True).top_count
    if count is None:
        return Candidates(row)

    def whole_row(index: int) -> NDArray[np.float32]:
        assert index == 0
        if whole_rows is not None:
            whole_rows.append(index)
        return row

    return read_candidates(found_by_device(row, count), [limit], PLAN.vocabulary_sizes, whole_row)[0]


@settings(max_examples=300)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.3, 1.0, 3.0, 8.0]),
    st.sampled_from([0.002, 0.3, 0.7, 1.0, 2.0]),
    st.sampled_from([0, 1, 8]),
    st.sampled_from([0.1, 0.5, 0.9, 0.99, 1 - 1e-9, 1.0]),
    st.sampled_from([0.02, 0.3, 1.0]),
    st.sampled_from([1 << 20, 4]),
)
def test_tokens_are_those_of_whole_rows(
    seed: int, spread: float, temperature: float, top_k: int, top_p: float, min_p: float, steps: int
) -> None:
    """Rows of different spread, some with many equal logits."""
    logits = np.random.default_rng(seed).standard_normal(PLAN.config.vocab_size) * spread
    row = (np.round(logits * steps) / steps).astype(np.float32)
    for config in (
        GenerationConfig(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p),
        GenerationConfig(temperature=temperature, top_k=top_k, top_p=min(top_p, 0.99)),
    ):
        for draw in range(4):
            numbers = RandomNumbers(draw)
            found = read(row, logit_filter(config, EMPTY, numbers))
            picks = [sample(each, config, EMPTY, numbers) for each in (found, Candidates(row))]
            assert picks[0] == picks[1]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 6.0]))
def test_bounds_are_not_below_the_missing_logits(seed: int, spread: float) -> None:
    row = (np.random.default_rng(seed).standard_normal(PLAN.config.vocab_size) * spread).astype(np.float32)
    found = read(row, NUCLEUS)
    missing = np.delete(np.arange(len(row)), found.token_ids)
    assert found.missing is not None
    assert np.all(found.missing.upper_bounds()[missing] >= row[missing])
    np.testing.assert_array_equal(found.missing.compute(missing), row[missing])
    np.testing.assert_array_equal(found.logits, row[found.token_ids])


def test_a_row_with_few_probable_tokens_is_not_copied_whole() -> None:
    row = np.random.default_rng(0).standard_normal(PLAN.config.vocab_size).astype(np.float32)
    row[[5, 17, 3000]] = 14.0, 13.0, 13.5
    whole_rows: list[int] = []
    for options in ({"top_p": 0.9}, {"min_p": 0.05}, {"top_p": 0.95, "min_p": 0.1}):
        config, picks = GenerationConfig(temperature=0.8, **options), set()
        for seed in range(40):
            numbers = RandomNumbers(seed)
            found = read(row, logit_filter(config, EMPTY, numbers), whole_rows)
            assert len(found.logits) < 1100
            picks.add(sample(found, config, EMPTY, numbers))
        assert picks == {5, 17, 3000}
    assert whole_rows == []


def test_a_flat_row_is_copied_whole() -> None:
    row, whole_rows = np.zeros(PLAN.config.vocab_size, np.float32), []
    config, numbers = GenerationConfig(temperature=1.0, top_p=0.9), RandomNumbers(1)
    found = read(row, logit_filter(config, EMPTY, numbers), whole_rows)
    assert sample(found, config, EMPTY, numbers) == sample(Candidates(row), config, EMPTY, numbers)
    assert whole_rows == [0]
