"""Sets of tokens as bit masks: bit id % 32 of word id // 32, uint32 [words]. Bits past the vocabulary are 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WORD_BITS = 32


def mask_words(vocab_size: int) -> int:
    """Return the number of words of a mask."""
    return -(-vocab_size // _WORD_BITS)


def mask_of(token_ids: NDArray[np.int64], vocab_size: int) -> NDArray[np.uint32]:
    """Return the mask of some tokens."""
    bits = np.zeros(mask_words(vocab_size) * _WORD_BITS, np.uint8)
    bits[token_ids] = 1
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def ids_of(mask: NDArray[np.uint32], vocab_size: int) -> NDArray[np.int64]:
    """Return the tokens of a mask, rising."""
    bits = np.unpackbits(mask.astype("<u4", copy=False).view(np.uint8), count=vocab_size, bitorder="little")
    return np.flatnonzero(bits)


def contains(mask: NDArray[np.uint32], token_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each token whether the mask has it; bool [tokens]."""
    shifts = (token_ids % _WORD_BITS).astype(np.uint32)
    bits: NDArray[np.uint32] = mask[token_ids // _WORD_BITS] >> shifts & np.uint32(1)
    return bits.astype(np.bool_)


def size_of(mask: NDArray[np.uint32]) -> int:
    """Return how many tokens a mask has."""
    return int.from_bytes(mask.tobytes(), "little").bit_count()
