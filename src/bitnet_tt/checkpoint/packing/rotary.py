"""Row order of the q and k projections.

Rotary positions turn pairs of features: feature i of a head with feature i + head_dim / 2. Hugging Face stores the rows
of a head in order, so the two rows of a pair are head_dim / 2 apart. llama.cpp's `llama` architecture stores them side
by side. Its `bitnet` architectures keep the order of Hugging Face.
"""

from __future__ import annotations

from bitnet_tt.checkpoint.packing.canonical import Bytes, pack, unpack


def pair_rotary_rows(packed: Bytes, heads: int) -> Bytes:
    """Put the two rows of each rotary pair side by side.

    Args:
        packed: Canonical uint8 [heads * head_dim / 4, in], rows in Hugging Face's order.
        heads: Number of query heads (q) or KV heads (k).
    """
    codes = unpack(packed)
    return pack(codes.reshape(heads, 2, -1, codes.shape[1]).swapaxes(1, 2).reshape(codes.shape))


def unpair_rotary_rows(packed: Bytes, heads: int) -> Bytes:
    """Undo `pair_rotary_rows`."""
    codes = unpack(packed)
    return pack(codes.reshape(heads, -1, 2, codes.shape[1]).swapaxes(1, 2).reshape(codes.shape))
