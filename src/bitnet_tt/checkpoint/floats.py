"""Decode embeddings, lm_heads and norms to the bfloat16 and float32 that backends take.

Files store them as floats or in blocks of integers of 2 to 8 bits. BitNet models are trained and published in bfloat16,
so an embedding in float16 or float32 often holds bfloat16 values, and rounding it changes nothing. If rounding does
change a value, the caller is told.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.gguf_blocks import DECODERS
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
    if tensor.dtype in DECODERS:
        blocks = np.asarray(tensor.raw()).reshape(-1, BLOCKS[tensor.dtype][1])
        return DECODERS[tensor.dtype](blocks).reshape(tensor.shape)
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
