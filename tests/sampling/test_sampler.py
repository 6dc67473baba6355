"""A pick follows the probabilities, is decided by logits, settings and seed, and needs only the logits that pass the
filter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomNumbers, logit_filter, sample
from tests.engine.fake_backend import passing
from tests.sampling.rows import logit_rows, probabilities


def draw(logits: np.ndarray, count: int, seed: int = 0, **options: object) -> np.ndarray:
    """Return how often each token is picked at the first `count` positions."""
    config, numbers = GenerationConfig(**options), RandomNumbers(seed)
    picks = [sample(Candidates(logits), config, range(position), 0, numbers) for position in range(count)]
    return np.bincount(picks, minlength=len(logits)) / count


@given(logit_rows)
def test_greedy_is_argmax(logits: np.ndarray) -> None:
    assert sample(Candidates(logits), GenerationConfig(), [], 0, RandomNumbers(1)) == int(np.argmax(logits))


def test_a_tiny_temperature_is_greedy() -> None:
    assert draw(np.array([1.0, 1.001, 0.5], np.float32), 20, temperature=1e-300)[1] == 1


def test_frequencies_follow_the_probabilities() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0], np.float32)
    np.testing.assert_allclose(draw(logits, 20_000, temperature=0.8), probabilities(logits, 0.8), atol=0.015)


@example(np.array([0, 0, 11, 11], np.float32) / np.float32(1024), 0.3, 50, 0.3, 1.0, 1.0)  # min-p filters after top-p
@given(
    logit_rows,
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
        return [sample(row, config, [0], 0, RandomNumbers(3, choice)) for choice in range(8)]

    assert picks(Candidates(logits)) == picks(passing(logits, logit_filter(config)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.6, 1.0, 2.0]), st.sampled_from([0.5, 0.9, 0.999, 1 - 1e-9]))
def test_a_nucleus_is_found_without_the_improbable_tokens(seed: int, temperature: float, top_p: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.choice([1, 4, 10]), 4000).astype(np.float32)
    config = GenerationConfig(temperature=temperature, top_p=top_p)
    part = passing(logits, logit_filter(config))
    row = replace(part, dropped_mass=part.dropped_mass * 2, whole_row=lambda: logits)
    for draw_seed in range(4):
        picks = [sample(each, config, [], 0, RandomNumbers(draw_seed)) for each in (Candidates(logits), row)]
        assert picks[0] == picks[1]


def test_a_nucleus_that_ends_clearly_takes_no_whole_row() -> None:
    row = Candidates(np.array([3.0, 2.0, 1.0], np.float32), np.array([4, 7, 9]), dropped_mass=1e-3)
    config = GenerationConfig(temperature=1.0, top_p=0.8)
    assert {sample(row, config, [], 0, RandomNumbers(seed)) for seed in range(20)} == {4, 7}


@settings(max_examples=20)
@given(st.integers(0, 2**64 - 1))
def test_a_seed_decides_the_text(seed: int) -> None:
    logits = np.linspace(-1, 1, 50, dtype=np.float32)
    assert np.array_equal(draw(logits, 10, seed, temperature=1.0), draw(logits, 10, seed, temperature=1.0))


def test_picks_are_the_same_on_every_machine() -> None:
    """If they changed, a seed would no longer give the text that it gave before."""
    logits = (np.arange(40, dtype=np.float32) * np.float32(0.37)) % np.float32(3.0)
    config = GenerationConfig(temperature=0.9, top_p=0.95)
    picks = [sample(Candidates(logits), config, range(position), 0, RandomNumbers(42)) for position in range(6)]
    assert picks == [22, 21, 7, 4, 8, 35]
