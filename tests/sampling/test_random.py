"""The noise of a position and token is a function of Philox, has the Gumbel distribution, and never changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitnet_tt.backends.base import Noise
from bitnet_tt.sampling import RandomNumbers
from bitnet_tt.sampling.random import gumbel, noise_words, philox, winner

words = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_known_answers_of_random123(counter: str, key: str, block: str) -> None:
    def numbers(text: str) -> list[int]:
        return [int(word, 16) for word in text.split()]

    result = philox(tuple(np.array([word], np.uint64) for word in numbers(counter)), tuple(numbers(key)))
    assert [int(word[0]) for word in result] == numbers(block)


def test_the_noise_of_a_seed_is_pinned() -> None:
    """If it changed, a seed would no longer give the text that it gave before. docs/numerics.md shows the first."""
    ids = np.arange(2)
    assert noise_words(Noise(42, 5, 0, 1.0), ids).tolist() == [0x014D2AF463E518D1, 0x184DAA3608CA790D]
    assert gumbel(noise_words(Noise(42, 5, 0, 1.0), ids)).tolist() == [5.279161377952796, 2.305102315030913]
    assert noise_words(Noise(2**63 + 42, 5, 1, 1.0), ids).tolist() == [0x78EE2B18A726A0E9, 0x0E833FED19001B99]


@given(st.lists(words, min_size=1, max_size=50))
def test_the_noise_is_minus_the_logarithm_of_minus_a_logarithm(some: list[int]) -> None:
    for word, noise in zip(some, gumbel(np.array(some, np.uint64)).tolist(), strict=True):
        r = (word + 0.5) / 2**64
        exponential = -math.log1p(-r) if word < 2**63 else -math.log((2**64 - word - 0.5) / 2**64)
        assert noise == pytest.approx(-math.log(exponential), rel=1e-12, abs=1e-12)


def test_the_largest_and_smallest_words_have_finite_noise() -> None:
    largest, smallest = gumbel(np.array([0, 2**64 - 1], np.uint64)).tolist()
    assert 45 < largest < 46
    assert -4 < smallest < -3.8


@given(words, st.integers(0, 7), st.integers(0, 1 << 20), st.sets(st.integers(0, 1 << 18), min_size=1, max_size=20))
def test_noise_depends_on_seed_choice_position_and_token_only(
    seed: int, choice: int, position: int, some: set[int]
) -> None:
    noise = RandomNumbers(seed, choice).noise(position, 1.0)
    ids = np.array(sorted(some))
    together = noise_words(noise, ids).tolist()
    assert together == [int(noise_words(noise, ids[i : i + 1])[0]) for i in range(len(ids))]
    for other in (Noise(seed ^ 1, position, choice, 1.0), Noise(seed, position + 1, choice, 1.0)):
        assert noise_words(other, ids).tolist() != together


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), words, st.sampled_from([1e-300, 1e-20, 0.7, 1e20]))
def test_the_winner_is_the_largest_exact_sum(logits: list[int], seed: int, temperature: float) -> None:
    """Tiny and huge temperatures make sums that are equal, or differ in the last bits only."""
    noise, row, ids = Noise(seed, 9, 0, temperature), np.array(logits, np.float32), np.arange(len(logits))
    sums = row.astype(np.float64) + temperature * gumbel(noise_words(noise, ids))
    assert winner(row, ids, noise) == int(np.argmax(sums))


LOGITS = np.array([0, 1, 2, -1, 3, 3, 1.5, -2, 0.25, 2.5], np.float32)


@pytest.mark.parametrize("temperature", [0.8, 2.0])
def test_largest_sums_follow_the_softmax(temperature: float) -> None:
    """Chi-squared with 9 degrees of freedom is below 40 with a probability of 0.99999.

    Ten tokens are a draw. A position has noise for the tokens of 2000 draws. Noise that is 10 % too wide fails.
    """
    ids = np.arange(20_000)
    noise = [gumbel(noise_words(Noise(3, position, 0, temperature), ids)) for position in range(30)]
    picks = (LOGITS + temperature * np.concatenate(noise).reshape(-1, 10)).argmax(axis=1)
    assert chi_squared(picks, temperature) < 40


@pytest.mark.parametrize("changing", ["positions", "seeds", "high halves of seeds", "choices", "tokens"])
def test_winners_follow_the_softmax(changing: str) -> None:
    """Whatever changes from one pick to the next."""
    picks = []
    for draw in range(4000):
        noise = {
            "positions": Noise(3, draw, 0, 0.8),
            "seeds": Noise(draw, 3, 0, 0.8),
            "high halves of seeds": Noise(draw << 32, 3, 0, 0.8),
            "choices": Noise(3, 3, draw, 0.8),
        }.get(changing, Noise(3, 3, 0, 0.8))
        picks.append(winner(LOGITS, np.arange(10) + (10 * draw if changing == "tokens" else 0), noise))
    assert chi_squared(np.array(picks), 0.8) < 40


def chi_squared(picks: NDArray[np.int64], temperature: float) -> float:
    """Return how far the frequencies of ten tokens are from the softmax of `LOGITS`."""
    expected = np.exp(LOGITS / temperature)
    expected *= len(picks) / expected.sum()
    return float(((np.bincount(picks, minlength=10) - expected) ** 2 / expected).sum())


def test_texts_without_a_seed_differ() -> None:
    assert RandomNumbers(None).seed != RandomNumbers(None).seed
