from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.sampler import (
    RandomStream,
    _weights,
    kept_tokens,
    log_probabilities,
    logit_filter,
    most_probable,
    penalize_repetition,
    sample,
)
from tests.engine.fake_backend import passing

# Multiples of 2^-10: logits that differ by less than the weights can tell apart would be ties for some tests only.
logit_lists = st.lists(st.integers(-30 << 10, 30 << 10), min_size=1, max_size=60).map(
    lambda values: np.array(values, np.float32) / np.float32(1 << 10)
)


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def draw(logits: np.ndarray, count: int, seed: int = 0, **options: object) -> np.ndarray:
    config = GenerationConfig(**options)
    stream = RandomStream(seed)
    picks = [sample(Candidates(logits), config, [], stream) for _ in range(count)]
    return np.bincount(picks, minlength=len(logits)) / count


@given(logit_lists)
def test_greedy_is_argmax_and_draws_nothing(logits: np.ndarray) -> None:
    stream = RandomStream(1)
    assert sample(Candidates(logits), GenerationConfig(), [], stream) == int(np.argmax(logits))
    assert stream.below(1 << 60) == RandomStream(1).below(1 << 60)


@given(logit_lists, st.floats(0.1, 3))
def test_weights_are_the_softmax(logits: np.ndarray, temperature: float) -> None:
    weights = _weights(logits, temperature)
    np.testing.assert_allclose(weights / weights.sum(), probabilities(logits, temperature), atol=1e-12)


def test_a_tiny_temperature_is_greedy() -> None:
    assert draw(np.array([1.0, 1.001, 0.5], np.float32), 20, temperature=1e-300)[1] == 1


def test_frequencies_follow_the_probabilities() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0], np.float32)
    np.testing.assert_allclose(draw(logits, 20_000, temperature=0.8), probabilities(logits, 0.8), atol=0.015)


@given(logit_lists, st.integers(1, 70))
def test_top_k_keeps_the_k_greatest(logits: np.ndarray, k: int) -> None:
    kept, _ = kept_tokens(logits, GenerationConfig(temperature=1.0, top_k=k))
    assert kept.tolist() == np.argsort(-logits, kind="stable")[:k].tolist()


@given(logit_lists, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: np.ndarray, top_p: float) -> None:
    kept, _ = kept_tokens(logits, GenerationConfig(temperature=1.0, top_p=top_p))
    share = probabilities(logits, 1.0)[kept]
    assert share.sum() >= top_p - 1e-9
    assert share.sum() - share[-1] <= top_p + 1e-9
    assert kept.tolist() == np.argsort(-logits, kind="stable")[: len(kept)].tolist()


def test_top_p_looks_past_its_first_guess() -> None:
    logits = np.zeros(5000, np.float32)
    kept, _ = kept_tokens(logits, GenerationConfig(temperature=1.0, top_p=0.5))
    assert len(kept) == 2500


@given(logit_lists, st.floats(0.01, 1.0))
def test_min_p_keeps_what_is_probable_enough(logits: np.ndarray, min_p: float) -> None:
    kept, _ = kept_tokens(logits, GenerationConfig(temperature=1.0, min_p=min_p))
    share = probabilities(logits, 1.0)
    inside = np.zeros(len(logits), bool)
    inside[kept] = True
    assert np.all(share[inside] >= min_p * share.max() - 1e-9)
    assert np.all(share[~inside] <= min_p * share.max() + 1e-9)


@given(logit_lists, st.integers(1, 60))
def test_most_probable_orders_ties_by_index(logits: np.ndarray, count: int) -> None:
    rounded = np.round(logits)
    assert most_probable(rounded, count).tolist() == np.argsort(-rounded, kind="stable")[:count].tolist()


@example(np.array([0, 0, 11, 11], np.float32) / np.float32(1024), 0.3, 50, 0.3, 1.0, 1.0)  # min-p filters after top-p
@given(
    logit_lists,
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    st.sampled_from([0, 1, 3, 50]),
    st.sampled_from([0.3, 0.9, 1.0]),
    st.sampled_from([0.0, 1e-13, 0.02, 0.5, 1.0]),
    st.sampled_from([1.0, 1.3]),
)
def test_candidates_that_pass_the_filter_are_enough(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float, penalty: float
) -> None:
    config = GenerationConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty
    )

    def picks(row: Candidates) -> list[int]:
        stream = RandomStream(3)
        return [sample(row, config, [0], stream) for _ in range(8)]

    assert picks(Candidates(logits)) == picks(passing(logits, logit_filter(config)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.6, 1.0, 2.0]), st.sampled_from([0.5, 0.9, 0.999, 1 - 1e-9]))
def test_a_nucleus_is_found_without_the_improbable_tokens(seed: int, temperature: float, top_p: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.choice([1, 4, 10]), 4000).astype(np.float32)
    config = GenerationConfig(temperature=temperature, top_p=top_p)
    part = passing(logits, logit_filter(config))
    row = replace(part, dropped_mass=part.dropped_mass * 2, whole_row=lambda: logits)
    for draw_seed in range(4):
        picks = [sample(each, config, [], RandomStream(draw_seed)) for each in (Candidates(logits), row)]
        assert picks[0] == picks[1]


def test_a_nucleus_that_ends_clearly_takes_no_whole_row() -> None:
    row = Candidates(np.array([3.0, 2.0, 1.0], np.float32), np.array([4, 7, 9]), dropped_mass=1e-3)
    config = GenerationConfig(temperature=1.0, top_p=0.8)
    assert {sample(row, config, [], RandomStream(seed)) for seed in range(20)} == {4, 7}


def test_the_filter_passes_no_more_than_needed() -> None:
    assert logit_filter(GenerationConfig()) == LogitFilter(count=1)
    assert logit_filter(GenerationConfig(temperature=1.0, top_k=40, top_p=0.9)) == LogitFilter(count=40)
    assert logit_filter(GenerationConfig(temperature=1.0, min_p=0.1)).margin == pytest.approx(-math.log(0.1), abs=0.02)
    assert logit_filter(GenerationConfig(temperature=0.6, top_p=0.9)) == LogitFilter(margin=9.6, mass_temperature=0.6)
    for needs_all in ({"repetition_penalty": 1.1}, {"logprobs": 3}, {"temperature": 1.0}):
        assert logit_filter(GenerationConfig(**needs_all)).passes_all


def test_repetition_penalty_pushes_seen_tokens_down() -> None:
    logits = np.array([2.0, -2.0, 3.0], np.float32)
    assert penalize_repetition(logits, 2.0, [0, 1, 0]).tolist() == [1.0, -4.0, 3.0]
    assert logits.tolist() == [2.0, -2.0, 3.0]


@settings(max_examples=20)
@given(st.integers(0, 2**64 - 1))
def test_a_seed_decides_the_text(seed: int) -> None:
    logits = np.linspace(-1, 1, 50, dtype=np.float32)
    assert np.array_equal(draw(logits, 10, seed, temperature=1.0), draw(logits, 10, seed, temperature=1.0))


def test_the_random_stream_is_the_same_on_every_machine() -> None:
    """Pinned: were they to change, a seed would no longer give the text it gave before."""
    stream = RandomStream(42)
    draws = [stream.below(1000) for _ in range(6)]
    logits = (np.arange(40, dtype=np.float32) * np.float32(0.37)) % np.float32(3.0)
    config = GenerationConfig(temperature=0.9, top_p=0.95)
    picks = [sample(Candidates(logits), config, [], stream) for _ in range(6)]
    assert draws == [820, 189, 867, 394, 368, 434]
    assert picks == [24, 8, 4, 5, 7, 8]


def test_log_probabilities_are_the_log_softmax() -> None:
    logits = np.array([1.0, 3.0, 2.0], np.float32)
    result = log_probabilities(logits, 0, 2)
    expected = np.log(probabilities(logits, 1.0))
    assert result.logprob == pytest.approx(expected[0])
    assert [index for index, _ in result.top] == [1, 2]
    assert math.isclose(result.top[0][1], expected[1])
