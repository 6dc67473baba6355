"""Decode the blocks of integers in which GGUF files store embeddings and lm_heads (ggml, ggml-quants.c).

A block holds integers of a few bits, called q here, and steps. There are three kinds:
- Q4_0 to Q8_0: 32 values with one float16 step d, and for Q4_1 and Q5_1 also a float16 minimum m;
- Q2_K to Q6_K: 256 values in groups of 16 or 32, each group with its own small integer step (and minimum), which is
  multiplied by the block's float16 step d (and minimum m);
- TQ1_0 and TQ2_0: 256 ternary codes with one float16 step d. `llama-quantize --pure` stores embeddings so too.

Each product is rounded to float32 in the order in which ggml computes it, so the values are bit for bit ggml's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.packing import tq1_0_to_codes, tq2_0_to_codes

type Bytes = NDArray[np.uint8]
type Floats = NDArray[np.float32]


def _float16(data: Bytes) -> Floats:
    """Return bytes [n, 2] as float32 [n, 1]."""
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32)


def _fields(data: Bytes, bits: int, run: int) -> Bytes:
    """Unpack fields of 1, 2 or 4 bits, lowest bits first.

    Args:
        data: Bytes [n, m].
        bits: The bits of a field.
        run: The bytes of a run. The lowest fields of all bytes of a run come first, then their next fields.

    Returns:
        Fields [n, m * 8 / bits].
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    unpacked: Bytes = data.reshape(len(data), -1, 1, run) >> shifts & np.uint8((1 << bits) - 1)
    return unpacked.reshape(len(data), -1)


def _q4_0(blocks: Bytes) -> Floats:
    """Blocks [n, 18]: d, then 4 bits a value; value = (q - 8) * d."""
    return _float16(blocks[:, :2]) * (_fields(blocks[:, 2:], 4, 16).astype(np.int8) - 8)


def _q4_1(blocks: Bytes) -> Floats:
    """Blocks [n, 20]: d, m, then 4 bits a value; value = q * d + m."""
    return _float16(blocks[:, :2]) * _fields(blocks[:, 4:], 4, 16) + _float16(blocks[:, 2:4])


def _q5(high: Bytes, low: Bytes) -> Bytes:
    """Join the high bits [n, 4] and the low 4 bits [n, 16] of 32 values."""
    bits: Bytes = np.unpackbits(high, axis=1, bitorder="little")
    joined: Bytes = _fields(low, 4, 16) | bits << np.uint8(4)
    return joined


def _q5_0(blocks: Bytes) -> Floats:
    """Blocks [n, 22]: d, the high bits, the low 4 bits; value = (q - 16) * d."""
    return _float16(blocks[:, :2]) * (_q5(blocks[:, 2:6], blocks[:, 6:]).astype(np.int8) - 16)


def _q5_1(blocks: Bytes) -> Floats:
    """Blocks [n, 24]: d, m, the high bits, the low 4 bits; value = q * d + m."""
    return _float16(blocks[:, :2]) * _q5(blocks[:, 4:8], blocks[:, 8:]) + _float16(blocks[:, 2:4])


def _q8_0(blocks: Bytes) -> Floats:
    """Blocks [n, 34]: d, then an int8 for each value; value = q * d."""
    values: Floats = _float16(blocks[:, :2]) * blocks[:, 2:].view(np.int8)
    return values


def _grouped(step: Floats, steps: NDArray[np.int8] | Bytes, q: NDArray[np.int8] | Bytes) -> Floats:
    """Multiply the block's step [n, 1], the steps of its groups [n, g] and its values [n, 256]."""
    scales: Floats = step * steps
    products: Floats = scales[:, :, None] * q.reshape(*scales.shape, -1)
    return products


def _q2_k(blocks: Bytes) -> Floats:
    """Blocks [n, 84]: 16 bytes of groups (low 4 bits: step, high: minimum), 2 bits a value, d, m.

    value = q * step * d - minimum * m, in groups of 16.
    """
    groups, low, step, minimum = np.split(blocks, (16, 80, 82), axis=1)
    minimums = _float16(minimum) * (groups >> 4)
    values: Floats = _grouped(_float16(step), groups & 15, _fields(low, 2, 32)) - minimums[:, :, None]
    return values.reshape(-1, 256)


def _q3_k(blocks: Bytes) -> Floats:
    """Blocks [n, 110]: a bit a value, 2 bits a value, 16 steps of 6 bits in 12 bytes, d.

    The low 4 bits of the steps come first, then their high 2 bits. The bit of a value is inverted: 0 subtracts 4.
    value = q * (step - 32) * d, in groups of 16.
    """
    high, low, packed, step = np.split(blocks, (32, 96, 108), axis=1)
    steps = _fields(packed[:, :8], 4, 8) | _fields(packed[:, 8:], 2, 4) << 4
    q = _fields(low, 2, 32).astype(np.int8) - ((1 - _fields(high, 1, 32)) << 2).astype(np.int8)
    return _grouped(_float16(step), steps.astype(np.int8) - np.int8(32), q).reshape(-1, 256)


def _steps_and_minimums(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Unpack the 8 steps and 8 minimums of 6 bits that Q4_K and Q5_K store in 12 bytes [n, 12].

    Bytes 0 to 3 hold steps 0 to 3, and bytes 4 to 7 minimums 0 to 3, in their low 6 bits. Bytes 8 to 11 hold the low 4
    bits of steps 4 to 7 (low) and of minimums 4 to 7 (high), whose high 2 bits are those of bytes 0 to 7.
    """
    first, second, last = np.split(packed, 3, axis=1)
    steps = np.concatenate([first & 63, last & 15 | first >> 6 << 4], axis=1)
    minimums = np.concatenate([second & 63, last >> 4 | second >> 6 << 4], axis=1)
    return steps, minimums


def _with_minimums(header: Bytes, q: Bytes) -> Floats:
    """Compute q * step * d - minimum * m in groups of 32.

    Args:
        header: d, m and the packed steps and minimums [n, 16].
        q: The integers [n, 256].
    """
    steps, minimums = _steps_and_minimums(header[:, 4:])
    lowest = _float16(header[:, 2:4]) * minimums
    return (_grouped(_float16(header[:, :2]), steps, q) - lowest[:, :, None]).reshape(-1, 256)


def _q4_k(blocks: Bytes) -> Floats:
    """Blocks [n, 144]: d, m, 12 bytes of steps and minimums, 4 bits a value."""
    return _with_minimums(blocks[:, :16], _fields(blocks[:, 16:], 4, 32))


def _q5_k(blocks: Bytes) -> Floats:
    """Blocks [n, 176]: d, m, 12 bytes of steps and minimums, the high bits, the low 4 bits."""
    q = _fields(blocks[:, 48:], 4, 32) | _fields(blocks[:, 16:48], 1, 32) << np.uint8(4)
    return _with_minimums(blocks[:, :16], q)


def _q6_k(blocks: Bytes) -> Floats:
    """Blocks [n, 210]: the low 4 bits, the high 2 bits, 16 int8 steps, d; value = (q - 32) * step * d."""
    low, high, steps, step = np.split(blocks, (128, 192, 208), axis=1)
    q = (_fields(low, 4, 64) | _fields(high, 2, 32) << 4).astype(np.int8) - np.int8(32)
    return _grouped(_float16(step), steps.view(np.int8), q).reshape(-1, 256)


def _tq1_0(blocks: Bytes) -> Floats:
    """Blocks [n, 54]: 52 bytes of ternary codes, d; value = (code - 1) * d."""
    return _float16(blocks[:, -2:]) * (tq1_0_to_codes(blocks[:, :-2]).reshape(-1, 256).astype(np.int8) - 1)


def _tq2_0(blocks: Bytes) -> Floats:
    """Blocks [n, 66]: 64 bytes of ternary codes, d; value = (code - 1) * d."""
    return _float16(blocks[:, -2:]) * (tq2_0_to_codes(blocks[:, :-2]).reshape(-1, 256).astype(np.int8) - 1)


DECODERS: dict[str, Callable[[Bytes], Floats]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "TQ1_0": _tq1_0,
    "TQ2_0": _tq2_0,
}
"""A function for each block type. It decodes blocks [n, bytes of a block] to float32 [n, values of a block]."""
