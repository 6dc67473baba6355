"""Top-k, top-p and min-p keep the tokens they promise, and the LogitFilter of the settings passes all logits that this
takes.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.masks import mask_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomNumbers, Text
from bitnet_tt.sampling.filters import kept_tokens, logit_filter, most_probable
from tests.engine.fake_backend import late
from tests.sampling.rows import logit_rows, probabilities


@given(logit_rows, st.integers(1, 70))
def test_top_k_keeps_the_k_largest(logits: np.ndarray, k: int) -> None:
    kept = kept_tokens(logits, GenerationConfig(temperature=1.0, top_k=k))
    assert kept.tolist() == np.sort(np.argsort(-logits, kind="stable")[:k]).tolist()


@given(logit_rows, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: np.ndarray, top_p: float) -> None:
    kept = kept_tokens(logits, GenerationConfig(temperature=1.0, top_p=top_p))
    share = probabilities(logits, 1.0)[kept]
    assert share.sum() >= top_p - 1e-9
    assert share.sum() - share.min() <= top_p + 1e-9
    assert kept.tolist() == np.sort(np.argsort(-logits, kind="stable")[: len(kept)]).tolist()


def test_top_p_looks_past_its_first_guess() -> None:
    logits = np.zeros(5000, np.float32)
    kept = kept_tokens(logits, GenerationConfig(temperature=1.0, top_p=0.5))
    assert len(kept) == 2500


@given(logit_rows, st.floats(0.01, 1.0))
def test_min_p_keeps_what_is_probable_enough(logits: np.ndarray, min_p: float) -> None:
    kept = kept_tokens(logits, GenerationConfig(temperature=1.0, min_p=min_p))
    share = probabilities(logits, 1.0)
    inside = np.zeros(len(logits), bool)
    inside[kept] = True
    assert np.all(share[inside] >= min_p * share.max() - 1e-9)
    assert np.all(share[~inside] <= min_p * share.max() + 1e-9)


@given(logit_rows, st.integers(1, 60))
def test_most_probable_orders_ties_by_index(logits: np.ndarray, count: int) -> None:
    rounded = np.round(logits)
    assert most_probable(rounded, count).tolist() == np.argsort(-rounded, kind="stable")[:count].tolist()


def filter_of(**options: object) -> LogitFilter:
    """Return the filter for a text of the prompt 7, 9 and the generated token 5, with the seed 3."""
    return logit_filter(GenerationConfig(**options), Text([7, 9, 5], 2), RandomNumbers(3, choice=1))


def test_the_filter_passes_no_more_than_needed() -> None:
    assert filter_of() == LogitFilter(count=1)
    assert filter_of(temperature=1.0, top_k=40, top_p=0.9, min_p=0.1) == LogitFilter(count=40)
    assert filter_of(temperature=0.6) == LogitFilter(noise=Noise(3, 3, 1, 0.6))
    for cut in ({"top_p": 0.9}, {"min_p": 0.1}):
        assert filter_of(temperature=0.6, **cut) == LogitFilter(count=8, noise=Noise(3, 3, 1, 0.6))
    assert filter_of(temperature=1e31).passes_all


@pytest.mark.parametrize(
    ("options", "always"),
    [
        ({"repetition_penalty": 1.1}, [5, 7, 9]),
        ({"presence_penalty": 1}, [5]),
        ({"frequency_penalty": 1}, [5]),
        ({"logit_bias": {8: 1, 2: -100}, "presence_penalty": 1}, [2, 5, 8]),
    ],
)
def test_tokens_whose_logits_change_always_pass(options: dict[str, object], always: list[int]) -> None:
    limit = filter_of(**options)
    assert limit.count == 1
    assert limit.always.tolist() == always


def test_reported_log_probabilities_take_the_whole_row() -> None:
    mask = late(mask_of(np.array([4]), 60))
    assert logit_filter(GenerationConfig(logprobs=3), Text([1], 1), RandomNumbers(3), mask) == LogitFilter()
