"""A mask is a set of tokens, in the bit order that grammar engines write."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.masks import contains, ids_of, mask_of, mask_words, size_of


@given(st.sets(st.integers(0, 130)))
def test_a_mask_is_a_set(tokens: set[int]) -> None:
    ids = np.array(sorted(tokens), np.int64)
    mask = mask_of(ids, 131)
    assert (mask.shape, mask.dtype) == ((mask_words(131),), np.uint32)
    assert ids_of(mask, 131).tolist() == ids.tolist()
    assert contains(mask, np.arange(131)).tolist() == [token in tokens for token in range(131)]
    assert size_of(mask) == len(tokens)


def test_the_lowest_bit_is_the_first_token() -> None:
    assert mask_of(np.array([0, 33]), 40).tolist() == [1, 2]
