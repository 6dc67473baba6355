"""Decode embeddings, lm_heads and norms to the bfloat16 and float32 that backends take.

Files store them as floats or in blocks of 8-bit or 6-bit integers. BitNet models are trained and published in bfloat16,
so an embedding in float16 or float32 often holds bfloat16 values, and rounding it changes nothing. If rounding does
change a value, the caller is told.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.formats.gguf import BLOCKS
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16

_CHUNK_ELEMENTS = 1 << 18


def float_rows(tensor: StoredTensor) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Decode a tensor [rows, columns] to float32, about 256 Ki elements at a time.

    Yields:
        The index of the first row, and the rows as float32 [n, columns].

    Raises:
        CheckpointError: The tensor is not of a float type.
    """
    step = max(1, _CHUNK_ELEMENTS // tensor.shape[-1])
    for start in range(0, tensor.shape[0], step):
        yield start, to_float32(tensor.rows(start, start + step))


def to_float32(tensor: StoredTensor) -> NDArray[np.float32]:
    """Decode a whole tensor to float32 of the same shape.

    Raises:
        CheckpointError: The tensor is not of a float type.
    """
    if tensor.dtype in ("Q8_0", "Q6_K"):
        dequantize = _dequantize_q8_0 if tensor.dtype == "Q8_0" else _dequantize_q6_k
        block_bytes = BLOCKS[tensor.dtype][1]
        return dequantize(tensor.raw().reshape(-1, block_bytes)).reshape(tensor.shape)
    if tensor.dtype == "U8":
        raise tensor.error("has type U8 instead of floats; check quantization_config in config.json")
    values = tensor.array()
    return bfloat16_to_float32(values) if tensor.dtype == "BF16" else np.asarray(values, np.float32)


def to_bfloat16(tensor: StoredTensor) -> tuple[NDArray[np.uint16], bool]:
    """Return a tensor [rows, columns] as bfloat16: without a copy if it is stored so, otherwise rounded half to even.

    Returns:
        The bits, uint16 of the tensor's shape, and whether they are equal to the stored values.

    Raises:
        CheckpointError: The tensor is not of a float type.
    """
    if tensor.dtype == "BF16":
        return tensor.array(), True
    bits = np.empty(tensor.shape, np.uint16)
    exact = True
    for start, rows in float_rows(tensor):
        rounded = float32_to_bfloat16(rows)
        bits[start : start + len(rows)] = rounded
        exact = exact and np.array_equal(bfloat16_to_float32(rounded), rows, equal_nan=True)
    tensor.release()
    return bits, exact


def _dequantize_q8_0(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode blocks [n, 34] to [n, 32]. A block is a float16 step, then 32 int8; value = int8 * step."""
    steps = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    decoded: NDArray[np.float32] = steps * blocks[:, 2:].view(np.int8)
    return decoded


def _dequantize_q6_k(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode blocks [n, 210] to [n, 16, 16].

    A block holds 256 six-bit integers q: their low 4 bits [128 bytes], their high 2 bits [64], 16 int8 steps and one
    float16 step. Each int8 step belongs to 16 values; value = (q - 32) * int8 step * float16 step.
    """
    low, high, steps, step = np.split(blocks, (128, 192, 208), axis=1)
    nibbles = low.reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8).reshape(2, 1) & 15
    pairs = high.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(4, 1) & 3
    values = (nibbles.reshape(-1, 2, 4, 32) | pairs << 4).astype(np.int8) - np.int8(32)
    scale = np.ascontiguousarray(step).view(np.float16).astype(np.float32) * steps.view(np.int8)
    decoded: NDArray[np.float32] = scale[:, :, None] * values.reshape(-1, 16, 16)
    return decoded
