"""Decode the ternary tensors of a GGUF file to canonical packed codes and one weight scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.packing import TQ_BLOCK, i2_s_to_packed, pack, tq1_0_to_codes, tq2_0_to_codes
from bitnet_tt.formats.gguf import I2_S_TAIL_BYTES
from bitnet_tt.formats.tensor import StoredTensor

TERNARY_TYPES = ("I2_S", "TQ1_0", "TQ2_0")
"""The GGUF tensor types that hold ternary weights."""


def read_ternary(tensor: StoredTensor) -> tuple[NDArray[np.uint8], np.float32]:
    """Decode a tensor [out, in] of one of `TERNARY_TYPES`.

    I2_S files of some ARM builds (blocks of 64) and of some x86 builds (four rows to a byte) have the type id and size
    of ordinary ones, so we cannot tell them apart. Microsoft publishes ordinary ones.

    Returns:
        The codes, canonical uint8 [out / 4, in], and the weight scale: weight = (code - 1) * scale.

    Raises:
        CheckpointError: The blocks of the tensor have different scales. A BitNet tensor has one scale.
    """
    stored = tensor.raw()
    if tensor.dtype == "I2_S":
        scale = stored[-I2_S_TAIL_BYTES:][:4].copy().view(np.float32)[0]
        packed = i2_s_to_packed(stored[:-I2_S_TAIL_BYTES], tensor.shape[1])
    else:
        packed, scale = _read_tq(tensor, stored)
    tensor.release()
    return packed, scale


def _read_tq(tensor: StoredTensor, stored: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], np.float32]:
    """Decode TQ1_0 or TQ2_0, which end each block of 256 weights with a float16 scale.

    All scales must be equal. A block of zeros may have the scale 0 instead.
    """
    blocks = stored.reshape(tensor.shape[0] * tensor.shape[1] // TQ_BLOCK, -1)
    scales = np.ascontiguousarray(blocks[:, -2:]).view(np.float16)[:, 0]
    to_codes = tq1_0_to_codes if tensor.dtype == "TQ1_0" else tq2_0_to_codes
    codes = to_codes(blocks[:, :-2])
    used = scales[scales != 0]
    if (used != used[:1]).any() or (codes[scales == 0] != 1).any():
        raise tensor.error(
            "has blocks with different scales, but a BitNet tensor has one scale; download an I2_S file of this model"
        )
    return pack(codes.reshape(tensor.shape)), np.float32(used[0] if used.size else 0)
