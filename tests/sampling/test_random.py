"""The random number of a position is a word of Philox, and never changes, on any machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.sampling.random import RandomNumbers, philox

words = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        (
            "0000000000000000 0000000000000000 0000000000000000 0000000000000000",
            "0000000000000000 0000000000000000",
            "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        ),
        (
            "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
            "ffffffffffffffff ffffffffffffffff",
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
            "452821e638d01377 be5466cf34e90c6c",
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)
def test_the_known_answers_of_random123(counter: str, key: str, block: str) -> None:
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(word, 16) for word in text.split())

    assert philox(numbers(counter), numbers(key)) == numbers(block)


@given(st.tuples(words, words, words, words), st.tuples(words, words))
def test_blocks_are_those_of_numpy(counter: tuple[int, ...], key: tuple[int, ...]) -> None:
    wide = (sum(word << 64 * index for index, word in enumerate(counter)) - 1) % 2**256  # NumPy adds 1 before a block
    before = [wide >> 64 * index & 2**64 - 1 for index in range(4)]
    numpy_philox = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(before, np.uint64))
    assert philox(counter, key) == tuple(numpy_philox.random_raw(4).tolist())


def test_the_numbers_of_a_seed_are_pinned() -> None:
    """If they changed, a seed would no longer give the text that it gave before. docs/numerics.md shows the first."""
    assert philox((5, 0, 0, 0), (42, 0))[0] == 0xFC8F015CF1F8F3EF
    assert [RandomNumbers(42).below(1000, p) for p in range(5, 11)] == [986, 967, 849, 407, 639, 718]
    assert [RandomNumbers(42, choice=1).below(1000, p) for p in range(5, 11)] == [463, 383, 4, 515, 878, 612]


@given(words, st.integers(0, 7), st.integers(1, 1 << 20), st.integers(1, 2**63))
def test_a_number_depends_on_seed_choice_and_position_only(seed: int, choice: int, position: int, total: int) -> None:
    number = RandomNumbers(seed, choice).below(total, position)
    assert 0 <= number < total
    other = RandomNumbers(seed, choice)
    other.below(total, position + 1)
    assert other.below(total, position) == number


def test_texts_without_a_seed_differ() -> None:
    assert RandomNumbers(None).below(1 << 63, 5) != RandomNumbers(None).below(1 << 63, 5)
