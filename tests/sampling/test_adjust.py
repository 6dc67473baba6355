"""logit_bias and the penalties change exactly the logits that they name, by the formula of docs/numerics.md."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import Text
from bitnet_tt.sampling.adjust import adjust, adjusted_tokens, adjusts
from tests.sampling.rows import logit_rows

token_lists = st.lists(st.integers(0, 59), min_size=1, max_size=80)
configs = st.builds(
    GenerationConfig,
    repetition_penalty=st.sampled_from([1.0, 0.7, 1.3]),
    presence_penalty=st.sampled_from([0.0, -2.0, 0.3]),
    frequency_penalty=st.sampled_from([0.0, 0.1, 2.0, -0.7]),
    logit_bias=st.dictionaries(st.integers(0, 59), st.sampled_from([-99.5, -1.1, 0.0, 3.3, 99.5]), max_size=5),
)


def adjusted_one_by_one(logit: float, token: int, config: GenerationConfig, text: list[int], prompt: int) -> np.float32:
    """Return the formula of docs/numerics.md for one token."""
    value = np.float32(logit)
    if token in dict(config.logit_bias):
        value = np.float32(value + np.float32(dict(config.logit_bias)[token]))
    if token in text:
        penalty = np.float32(config.repetition_penalty)
        value = np.float32(value / penalty if value > 0 else value * penalty)
    count = text[prompt:].count(token)
    if count:
        value = np.float32(value - np.float32(np.float32(config.frequency_penalty) * np.float32(count)))
        value = np.float32(value - np.float32(config.presence_penalty))
    return value


@given(logit_rows, configs, token_lists, st.integers(0, 80))
def test_each_logit_follows_the_formula(
    logits: np.ndarray, config: GenerationConfig, tokens: list[int], prompt: int
) -> None:
    logits = np.resize(logits, 60)
    before = logits.copy()
    expected = [adjusted_one_by_one(logit, token, config, tokens, prompt) for token, logit in enumerate(logits)]
    adjusted = adjust(logits, None, config, Text(tokens, prompt))
    np.testing.assert_array_equal(adjusted, np.array(expected, np.float32))
    np.testing.assert_array_equal(logits, before)
    changed = np.flatnonzero(adjusted != logits)
    if adjusts(config):
        assert np.isin(changed, adjusted_tokens(config, Text(tokens, prompt))).all()
    else:
        assert not len(changed)


@given(logit_rows, configs, token_lists, st.integers(0, 80), st.sets(st.integers(0, 59), min_size=1))
def test_a_logit_does_not_depend_on_the_others(
    logits: np.ndarray, config: GenerationConfig, tokens: list[int], prompt: int, some: set[int]
) -> None:
    logits, ids = np.resize(logits, 60), np.array(sorted(some))
    whole = adjust(logits, None, config, Text(tokens, prompt))
    np.testing.assert_array_equal(adjust(logits[ids], ids, config, Text(tokens, prompt)), whole[ids])


def test_the_prompt_counts_for_the_repetition_penalty_only() -> None:
    logits = np.array([2.0, -2.0, 3.0, 4.0], np.float32)
    options = {"presence_penalty": 0.5, "frequency_penalty": 0.25}
    assert adjust(logits, None, GenerationConfig(**options), Text([0, 1, 0, 1, 1], 3)).tolist() == [2.0, -3.0, 3.0, 4.0]
    repetition = GenerationConfig(repetition_penalty=2.0)
    assert adjust(logits, None, repetition, Text([0, 1, 0], 3)).tolist() == [1.0, -4.0, 3.0, 4.0]


def test_a_bias_of_minus_100_bans_and_100_forces() -> None:
    logits = np.array([50.0, -200.0, 3.0], np.float32)
    banned = adjust(logits, None, GenerationConfig(logit_bias={0: -100, 1: -100}), Text([], 0))
    assert banned.tolist() == [-np.inf, -np.inf, 3.0]
    forced = adjust(logits, None, GenerationConfig(logit_bias={1: 100, 2: -100}), Text([], 0))
    assert forced.tolist() == [-np.inf, -100.0, -np.inf]


def test_bans_that_leave_no_token_are_ignored() -> None:
    config = GenerationConfig(logit_bias={4: -100, 7: -100})
    allowed = np.array([4, 7])
    assert adjust(np.array([1.0, 2.0], np.float32), allowed, config, Text([], 0)).tolist() == [-99.0, -98.0]
