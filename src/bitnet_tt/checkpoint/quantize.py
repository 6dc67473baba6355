"""Weights as they were trained, or ternary but unpacked, to packed ternary: the weight half of the numerics contract.

BitNet b1.58 quantises a whole tensor with one scale, the mean of its absolute values: w = max(mean|W|, 1e-5) and
T = clip(rint(W / w), -1, 1) (arXiv 2402.17764, section 2). The mean is accumulated in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.floats import float_rows, to_float32
from bitnet_tt.formats.tensor import StoredTensor

_CHUNK_ELEMENTS = 1 << 18
_Codes = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def quantize_master(tensor: StoredTensor) -> tuple[NDArray[np.uint8], np.float32]:
    """Quantise master weights [out, in] of a float type, a few rows at a time.

    `rint(W / w)` is 0 exactly where |W| <= w / 2 (half rounds to even, and the division cannot round across it), so two
    comparisons with w / 2 give the codes and no weight is divided.

    Returns:
        uint8 [out / 4, in], packed as in `TernaryMatrix`, and the weight scale.

    Raises:
        CheckpointError: NaN or infinity among the weights, or an element type that holds no weights.
    """
    total = sum(float(np.abs(rows).sum(dtype=np.float64)) for _, rows in float_rows(tensor))
    if not np.isfinite(total):
        raise tensor.error("holds NaN or infinity; the file is damaged: download the original again")
    out_features, in_features = tensor.shape
    scale = max(np.float32(total / (out_features * in_features)), np.float32(1e-5))
    half = scale * np.float32(0.5)
    return _pack(tensor, lambda rows: np.add(rows > half, rows >= -half, dtype=np.uint8)), scale


def pack_unpacked(tensor: StoredTensor) -> NDArray[np.uint8]:
    """Pack weights [out, in] that are ternary already but stored as floats -1, 0 and 1.

    Returns:
        uint8 [out / 4, in], packed as in `TernaryMatrix`.

    Raises:
        CheckpointError: Another value is among them.
    """

    def codes(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        if not np.isin(rows, (-1.0, 0.0, 1.0)).all():
            raise tensor.error(
                "has a weight_scale, but values other than -1, 0 and 1; if these are master weights, remove the "
                'weight_scale tensors and set quantization_config.quantization_mode to "online"'
            )
        return (rows + 1).astype(np.uint8)

    return _pack(tensor, codes)


def _pack(tensor: StoredTensor, to_codes: _Codes) -> NDArray[np.uint8]:
    """Pack a float tensor [out, in] through a function from rows to codes 0, 1, 2; drops its pages when done."""
    out_features, in_features = tensor.shape
    quarter = out_features // 4
    packed = np.zeros((quarter, in_features), np.uint8)
    step = max(1, _CHUNK_ELEMENTS // in_features)
    for start in range(0, quarter, step):
        stop = min(start + step, quarter)
        for i in range(4):
            rows = tensor.rows(i * quarter + start, i * quarter + stop)
            packed[start:stop] |= to_codes(to_float32(rows)) << np.uint8(2 * i)
    tensor.release()
    return packed
