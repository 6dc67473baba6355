"""A pick follows the probabilities, is decided by logits, settings and seed, and needs only the logits that pass the
filter.
"""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Candidates
from bitnet_tt.backends.masks import mask_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomNumbers, Text, logit_filter, sample
from tests.engine.fake_backend import late, passing
from tests.sampling.rows import logit_rows, probabilities

EMPTY = Text([], 0)


def draw(logits: np.ndarray, count: int, seed: int = 0, **options: object) -> np.ndarray:
    """Return how often each token is picked at the first `count` positions."""
    config, numbers = GenerationConfig(**options), RandomNumbers(seed)
    picks = [sample(Candidates(logits), config, Text(range(position), 0), numbers) for position in range(count)]
    return np.bincount(picks, minlength=len(logits)) / count


@given(logit_rows)
def test_greedy_is_argmax(logits: np.ndarray) -> None:
    assert sample(Candidates(logits), GenerationConfig(), EMPTY, RandomNumbers(1)) == int(np.argmax(logits))


def test_a_tiny_temperature_is_greedy() -> None:
    assert draw(np.array([1.0, 1.001, 0.5], np.float32), 20, temperature=1e-300)[1] == 1


def test_frequencies_follow_the_probabilities() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0], np.float32)
    np.testing.assert_allclose(draw(logits, 20_000, temperature=0.8), probabilities(logits, 0.8), atol=0.015)


configs = st.builds(
    GenerationConfig,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 1e-13, 0.02, 0.5, 1.0]),
)
adjusting = st.builds(
    dict,
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.8]),
    presence_penalty=st.sampled_from([0.0, 1.5, -1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.6]),
    logit_bias=st.dictionaries(st.integers(0, 59), st.sampled_from([-100, -7, 0.5, 12, 100]), max_size=4),
)
MIN_P_AFTER_TOP_P = GenerationConfig(temperature=0.3, top_k=50, top_p=0.3, min_p=1.0)


@example(np.array([0, 0, 11, 11], np.float32) / np.float32(1024), MIN_P_AFTER_TOP_P, {}, [0], None)
@settings(max_examples=400)
@given(
    logit_rows,
    configs,
    st.one_of(st.just({}), adjusting),
    st.lists(st.integers(0, 59), min_size=1, max_size=30),
    st.one_of(st.none(), st.sets(st.integers(0, 59), min_size=1)),
)
def test_candidates_that_pass_the_filter_are_enough(
    logits: np.ndarray, config: GenerationConfig, options: dict[str, object], tokens: list[int], some: set[int] | None
) -> None:
    """With and without penalties and masks, tokens are those of whole rows with -inf where no token is allowed."""
    logits, config = np.resize(logits, 60), config.with_options(**options)
    ids = np.arange(60) if some is None else np.array(sorted(some))
    masked = np.full(60, -np.inf, np.float32)
    masked[ids] = logits[ids]
    allowed = None if some is None else mask_of(ids, 60)
    text = Text(tokens, len(tokens) // 2)

    def picks(row: Candidates, mask: np.ndarray | None) -> list[int]:
        return [sample(row, config, text, RandomNumbers(3, choice), mask) for choice in range(8)]

    expected = picks(Candidates(masked), None) if _has_a_choice(config, ids) else picks(Candidates(logits), allowed)
    assert set(expected) <= set(ids.tolist())
    assert picks(Candidates(logits), allowed) == expected
    for slack in (0.0, 0.4, 5.0):
        for has_winner in (False, True):
            for choice, token_id in enumerate(expected):
                numbers = RandomNumbers(3, choice)
                limit = logit_filter(config, text, numbers, late(allowed))
                row = passing(logits, limit, slack=slack, has_winner=has_winner)
                assert sample(row, config, text, numbers, allowed) == token_id


def _has_a_choice(config: GenerationConfig, ids: np.ndarray) -> bool:
    """Return whether logit_bias leaves one of these tokens. If not, it is ignored, which a row of -inf cannot say."""
    bias = dict(config.logit_bias)
    forced = {token for token, value in bias.items() if value == 100}
    return any(bias.get(token) != -100 for token in ids.tolist()) and (not forced or bool(forced & set(ids.tolist())))


@settings(max_examples=200)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.3, 0.6, 1.0, 2.0]),
    st.sampled_from([0.5, 0.9, 0.999, 1 - 1e-9]),
    st.sampled_from([1.0, 1.2, 3.0]),
    st.sampled_from([None, 0.02, 0.5]),
    st.sampled_from([0.0, 0.3, 4.0]),
    st.booleans(),
)
def test_a_nucleus_is_found_without_the_improbable_tokens(
    seed: int, temperature: float, top_p: float, penalty: float, density: float | None, slack: float, has_winner: bool
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.choice([1, 4, 10]), 4000).astype(np.float32)
    config = GenerationConfig(temperature=temperature, top_p=top_p, repetition_penalty=penalty)
    tokens = [*rng.integers(0, 4000, 50).tolist(), *np.argsort(-logits)[: rng.integers(0, 9)].tolist()]
    text = Text(tokens, 50)
    allowed = None if density is None else mask_of(np.flatnonzero(rng.random(4000) < density), 4000)
    for draw_seed in range(4):
        numbers = RandomNumbers(draw_seed)
        row = passing(logits, logit_filter(config, text, numbers, late(allowed)), slack=slack, has_winner=has_winner)
        picks = [sample(each, config, text, numbers, allowed) for each in (Candidates(logits), row)]
        assert picks[0] == picks[1]


def test_few_logits_are_computed_on_peaked_and_on_flat_rows() -> None:
    """On average a seventh of a row, with bounds that are five temperatures too high."""
    rng = np.random.default_rng(0)
    for spread in (3.0, 8.0):
        computed = 0
        for seed in range(100):
            logits, numbers = rng.normal(0, spread, 20_000).astype(np.float32), RandomNumbers(seed)
            config = GenerationConfig(temperature=1.0, top_p=0.95)
            row = passing(logits, logit_filter(config, EMPTY, numbers), slack=5.0)
            sample(row, config, EMPTY, numbers)
            computed += row.missing.computed
        assert computed < 100 * 20_000 / 7


def test_plain_temperature_takes_no_logit_but_the_winner() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        logits, numbers = rng.normal(0, 2, 5000).astype(np.float32), RandomNumbers(seed)
        config = GenerationConfig(temperature=1.0)
        row = passing(logits, logit_filter(config, EMPTY, numbers), slack=9.0)
        assert sample(row, config, EMPTY, numbers) == sample(Candidates(logits), config, EMPTY, numbers)
        assert row.missing.computed == 0


@settings(max_examples=20)
@given(st.integers(0, 2**64 - 1))
def test_a_seed_decides_the_text(seed: int) -> None:
    logits = np.linspace(-1, 1, 50, dtype=np.float32)
    assert np.array_equal(draw(logits, 10, seed, temperature=1.0), draw(logits, 10, seed, temperature=1.0))


def test_picks_are_the_same_on_every_machine() -> None:
    """If they changed, a seed would no longer give the text that it gave before."""
    logits = (np.arange(40, dtype=np.float32) * np.float32(0.37)) % np.float32(3.0)
    config = GenerationConfig(temperature=0.9, top_p=0.95)
    picks = [sample(Candidates(logits), config, Text(range(position), 0), RandomNumbers(42)) for position in range(6)]
    assert picks == [24, 6, 28, 30, 8, 14]
