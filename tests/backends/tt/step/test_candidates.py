"""The largest logits of each vocabulary part give the same tokens as whole rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.candidates import NO_TOKEN, read_candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomNumbers, Text, logit_filter, sample
from tests.backends.tt.planning.plans import CONFIG_2B4T

PLAN = Plan(replace(CONFIG_2B4T, vocab_size=4007), SMALLEST_P150, "fast", 128)
EMPTY = Text([], 0)


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
    assert count is not None

    def whole_row(index: int) -> NDArray[np.float32]:
        assert index == 0
        if whole_rows is not None:
            whole_rows.append(index)
        return row

    return read_candidates(found_by_device(row, count), [limit], PLAN, whole_row)[0]


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
        found = read(row, logit_filter(config, EMPTY))
        for draw in range(4):
            picks = [sample(each, config, EMPTY, RandomNumbers(draw)) for each in (found, Candidates(row))]
            assert picks[0] == picks[1]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 6.0]), st.sampled_from([0.05, 0.7, 1.0]))
def test_dropped_mass_bounds_the_mass_of_missing_logits(seed: int, spread: float, temperature: float) -> None:
    row = (np.random.default_rng(seed).standard_normal(PLAN.config.vocab_size) * spread).astype(np.float32)
    found = read(row, LogitFilter(margin=16 * temperature, mass_temperature=temperature))
    missing = np.delete(row, found.token_ids).astype(np.float64)
    assert missing.max() <= found.logits.min()
    assert found.dropped_mass >= np.exp((missing - row.max()) / temperature).sum()
    np.testing.assert_array_equal(found.logits, row[found.token_ids])


def test_a_row_with_few_probable_tokens_is_not_copied_whole() -> None:
    row = np.random.default_rng(0).standard_normal(PLAN.config.vocab_size).astype(np.float32)
    row[[5, 17, 3000]] = 14.0, 13.0, 13.5
    whole_rows: list[int] = []
    for options in ({"top_p": 0.9}, {"min_p": 0.05}, {"top_p": 0.95, "min_p": 0.1}):
        config = GenerationConfig(temperature=0.8, **options)
        found = read(row, logit_filter(config, EMPTY), whole_rows)
        assert len(found.logits) < 1000
        assert {sample(found, config, EMPTY, RandomNumbers(seed)) for seed in range(40)} == {5, 17, 3000}
    assert whole_rows == []


def test_a_flat_row_is_copied_whole() -> None:
    row = np.zeros(PLAN.config.vocab_size, np.float32)
    assert read(row, LogitFilter(margin=2.0)).token_ids is None
    unsure = read(row, LogitFilter(margin=16.0, mass_temperature=1.0))
    assert unsure.dropped_mass > 1
    assert unsure.whole_row is not None
    np.testing.assert_array_equal(unsure.whole_row(), row)
