"""The layouts in which files store ternary weights: the canonical layout, ggml's layouts, and conversions between them.

Codes 0, 1 and 2 stand for -1, 0 and +1. In the canonical layout, that of the Hugging Face checkpoints and of
`TernaryMatrix`, four codes share a byte: for a matrix [out, in], bits 2i..2i+1 of byte [r, c] hold the code of row
i * out/4 + r, column c. Most GGUF models are I2_S, so I2_S converts directly to the canonical layout.

GGUF files of llama.cpp's `llama` architecture also order the rows of q and k differently. Rotary positions rotate pairs
of features: feature i of a head with feature i + head_dim / 2. Hugging Face stores the rows of a head in order, so the
two rows of a pair are head_dim / 2 apart. llama.cpp's `llama` stores them side by side. Its `bitnet` architectures keep
the order of Hugging Face.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Bytes = NDArray[np.uint8]

I2_S_BLOCK = 128
"""Values per I2_S block."""
TQ_BLOCK = 256
"""Values per TQ1_0 or TQ2_0 block."""

_I2_S_SHIFTS = (6, 4, 2, 0)
_TQ2_0_SHIFTS = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
_POWERS_OF_3 = np.array([1, 3, 9, 27, 81], np.uint8)
_CHUNK_BYTES = 1 << 18
_GROUP = np.dtype("V32")
"""32 bytes as one element, so that NumPy copies a whole group at a time."""


def pack(codes: Codes) -> Bytes:
    """Pack codes [out, in] into uint8 [out / 4, in]."""
    first, second, third, fourth = codes.reshape(4, -1, codes.shape[1])
    packed: Bytes = first | second << np.uint8(2) | third << np.uint8(4) | fourth << np.uint8(6)
    return packed


def unpack(packed: Bytes) -> Codes:
    """Unpack uint8 [out / 4, in] to codes [out, in]. A code is 3 where the bytes are not ternary."""
    return np.concatenate([packed >> np.uint8(2 * i) & np.uint8(3) for i in range(4)])


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


def i2_s_to_packed(stored: Bytes, in_features: int) -> Bytes:
    """Convert I2_S to the canonical layout without unpacking the codes.

    An I2_S block holds 128 consecutive values of a row in 32 bytes: value j in byte j % 32 at shift 6 - 2 * (j // 32).

    Args:
        stored: uint8 [out * in / 4], the codes without the scale that follows them.
        in_features: Number of columns, a multiple of 128.

    Returns:
        uint8 [out / 4, in].
    """
    source = stored.view(np.uint64).reshape(4, -1, in_features // 32)
    packed = np.empty((source.shape[1], in_features), np.uint8)
    target = packed.view(_GROUP).reshape(len(packed), -1, 4)
    for rows in _row_chunks(len(packed), in_features):
        for group, shift in enumerate(_I2_S_SHIFTS):
            words = _join(_move_field(source[quarter, rows], shift, 2 * quarter) for quarter in range(4))
            target[rows, :, group] = words.view(_GROUP)
    return packed


def packed_to_i2_s(packed: Bytes) -> Bytes:
    """Undo `i2_s_to_packed`.

    Args:
        packed: uint8 [out / 4, in]; `in` is a multiple of 128.

    Returns:
        uint8 [out * in / 4].
    """
    quarter_rows, in_features = packed.shape
    source = np.ascontiguousarray(packed).view(_GROUP).reshape(quarter_rows, -1, 4)
    stored = np.empty(packed.size, np.uint8)
    target = stored.view(np.uint64).reshape(4, quarter_rows, -1)
    for rows in _row_chunks(quarter_rows, in_features):
        groups = [np.ascontiguousarray(source[rows, :, group]).view(np.uint64) for group in range(4)]
        for quarter in range(4):
            fields = zip(groups, _I2_S_SHIFTS, strict=True)
            target[quarter, rows] = _join(_move_field(words, 2 * quarter, shift) for words, shift in fields)
    return stored


def tq2_0_to_codes(stored: Bytes) -> Codes:
    """Unpack TQ2_0 blocks, uint8 [n, 64] without their scales, to codes [n, 256].

    A block is two groups of 32 bytes with 128 values each. Value j of a group is in byte j % 32 at shift 2 * (j // 32).
    """
    codes: Codes = (stored.reshape(-1, 2, 1, 32) >> _TQ2_0_SHIFTS & np.uint8(3)).reshape(-1, TQ_BLOCK)
    return codes


def codes_to_tq2_0(codes: Codes) -> Bytes:
    """Undo `tq2_0_to_codes`."""
    stored: Bytes = np.bitwise_or.reduce(codes.reshape(-1, 2, 4, 32) << _TQ2_0_SHIFTS, axis=2).reshape(-1, 64)
    return stored


def tq1_0_to_codes(stored: Bytes) -> Codes:
    """Unpack TQ1_0 blocks, uint8 [n, 52] without their scales, to codes [n, 256].

    A byte b holds five base-3 digits of the fraction b / 256. Digit n is ((b * 3^n mod 256) * 3) >> 8.
    Bytes 0..31 hold values 0..159: digit 0 of every byte first, then digit 1 of every byte, and so on. Bytes 32..47
    hold values 160..239 in the same order. Bytes 48..51 hold values 240..255, four digits each.
    """
    parts = [_digits(stored[:, :32], 5), _digits(stored[:, 32:48], 5), _digits(stored[:, 48:52], 4)]
    return np.concatenate(parts, axis=1)


def _digits(stored: Bytes, count: int) -> Codes:
    """Return the first `count` base-3 digits of every byte [n, bytes], digit-major: [n, count * bytes]."""
    fractions = stored[:, None, :] * _POWERS_OF_3[:count].reshape(-1, 1)
    return (fractions.astype(np.uint16) * np.uint16(3) >> np.uint16(8)).astype(np.uint8).reshape(len(stored), -1)


def _move_field(words: NDArray[np.uint64], source_bit: int, target_bit: int) -> NDArray[np.uint64]:
    """Move the two bits at `source_bit` of each byte to `target_bit` and clear the others, eight bytes at a time."""
    distance = np.uint64(abs(source_bit - target_bit))
    moved = words >> distance if source_bit > target_bit else words << distance
    moved &= np.uint64((3 << target_bit) * 0x0101010101010101)
    return moved


def _join(fields: Iterator[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the bitwise or of all fields. The first one is overwritten with the result."""
    joined = next(fields)
    for words in fields:
        joined |= words
    return joined


def _row_chunks(rows: int, row_bytes: int) -> list[slice]:
    """Split rows into slices of about 256 KiB, so that the intermediate arrays stay small."""
    step = max(1, _CHUNK_BYTES // row_bytes)
    return [slice(start, start + step) for start in range(0, rows, step)]
