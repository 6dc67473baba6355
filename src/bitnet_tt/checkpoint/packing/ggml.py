"""Every layout in which ternary weights are stored, to and from codes: 0, 1 and 2 stand for -1, 0 and +1.

The canonical layout, that of the Hugging Face checkpoints and of `TernaryMatrix`, keeps row i * out/4 + r of a matrix
in bits 2i..2i+1 of row r. The others are ggml's. I2_S, in which most GGUF models come, has a direct way there and back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Bytes = NDArray[np.uint8]

I2_S_BLOCK = 128
TQ_BLOCK = 256
_I2_S_SHIFTS = (6, 4, 2, 0)
_POWERS_OF_3 = np.array([1, 3, 9, 27, 81], np.uint8)
_CHUNK_BYTES = 1 << 18
_GROUP = np.dtype("V32")


def pack(codes: Codes) -> Bytes:
    """Pack codes [out, in] into the canonical layout, uint8 [out / 4, in]."""
    first, second, third, fourth = codes.reshape(4, -1, codes.shape[1])
    packed: Bytes = first | second << np.uint8(2) | third << np.uint8(4) | fourth << np.uint8(6)
    return packed


def unpack(packed: Bytes) -> Codes:
    """Undo `pack`: codes [out, in] from uint8 [out / 4, in]; a code may be 3 if the bytes are not ternary."""
    return np.concatenate([packed >> np.uint8(2 * i) & np.uint8(3) for i in range(4)])


def i2_s_to_packed(stored: Bytes, in_features: int) -> Bytes:
    """Turn I2_S codes into the canonical layout without unpacking them.

    An I2_S block holds 128 consecutive values of a row in 32 bytes: value j in byte j % 32 at shift 6 - 2 * (j // 32).

    Args:
        stored: uint8 [out * in / 4], the codes without the scale behind them.
        in_features: Columns; a multiple of 128.

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
    """Undo `i2_s_to_packed`: uint8 [out * in / 4] from uint8 [out / 4, in], in a multiple of 128."""
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

    Two groups of 32 bytes; value j of a group's 128 is in byte j % 32 at shift 2 * (j // 32).
    """
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    codes: Codes = (stored.reshape(-1, 2, 1, 32) >> shifts & np.uint8(3)).reshape(-1, TQ_BLOCK)
    return codes


def codes_to_tq2_0(codes: Codes) -> Bytes:
    """Undo `tq2_0_to_codes`."""
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    stored: Bytes = np.bitwise_or.reduce(codes.reshape(-1, 2, 4, 32) << shifts, axis=2).reshape(-1, 64)
    return stored


def tq1_0_to_codes(stored: Bytes) -> Codes:
    """Unpack TQ1_0 blocks, uint8 [n, 52] without their scales, to codes [n, 256].

    A byte is a fraction of 256 in base 3 whose first five digits are values: digit n is the integer part of 3 times
    what multiplying by 3^n leaves below 256. Bytes 0..31 hold values 0..159 and bytes 32..47 values 160..239,
    digit-major; bytes 48..51 hold four digits each.
    """
    parts = [_digits(stored[:, :32], 5), _digits(stored[:, 32:48], 5), _digits(stored[:, 48:52], 4)]
    return np.concatenate(parts, axis=1)


def codes_to_tq1_0(codes: Codes) -> Bytes:
    """Undo `tq1_0_to_codes`."""
    last = np.zeros((len(codes), 20), np.uint8)
    last[:, :16] = codes[:, 240:]
    values = (codes[:, :160].reshape(-1, 5, 32), codes[:, 160:240].reshape(-1, 5, 16), last.reshape(-1, 5, 4))
    digits = np.concatenate(values, axis=2).astype(np.uint16)
    number = np.einsum("ndb,d->nb", digits, _POWERS_OF_3[::-1].astype(np.uint16))
    stored: Bytes = ((number * 256 + 242) // 243).astype(np.uint8)
    return stored


def _digits(stored: Bytes, count: int) -> Codes:
    fractions = stored[:, None, :] * _POWERS_OF_3[:count].reshape(-1, 1)
    return (fractions.astype(np.uint16) * np.uint16(3) >> np.uint16(8)).astype(np.uint8).reshape(len(stored), -1)


def _move_field(words: NDArray[np.uint64], source_bit: int, target_bit: int) -> NDArray[np.uint64]:
    """Move the two bits at `source_bit` of each byte to `target_bit`, eight bytes at a time; clear all others."""
    distance = np.uint64(abs(source_bit - target_bit))
    moved = words >> distance if source_bit > target_bit else words << distance
    moved &= np.uint64((3 << target_bit) * 0x0101010101010101)
    return moved


def _join(fields: Iterator[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Join words whose set bits are apart, in place of the first."""
    joined = next(fields)
    for words in fields:
        joined |= words
    return joined


def _row_chunks(rows: int, row_bytes: int) -> list[slice]:
    step = max(1, _CHUNK_BYTES // row_bytes)
    return [slice(start, start + step) for start in range(0, rows, step)]
