"""Quantise master weights to packed ternary, and pack ternary weights that are stored as floats.

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
_RowsToCodes = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def quantize_master(tensor: StoredTensor) -> tuple[NDArray[np.uint8], np.float32]:
    """Quantise master weights [out, in] of a float type, about 256 Ki weights at a time.

    No weight is divided: `rint(W / w)` is 0 exactly where |W| <= w / 2, because half rounds to even and the division
    cannot round across one half. So two comparisons with w / 2 give the codes.

    Returns:
        The codes, uint8 [out / 4, in] packed as in `TernaryMatrix`, and the weight scale.

    Raises:
        CheckpointError: A weight is NaN or infinite, or the tensor is not of a float type.
    """
    total = sum(float(np.abs(rows).sum(dtype=np.float64)) for _, rows in float_rows(tensor))
    if not np.isfinite(total):
        raise tensor.error("holds NaN or infinity; the file is damaged: download the original again")
    out_features, in_features = tensor.shape
    scale = max(np.float32(total / (out_features * in_features)), np.float32(1e-5))
    half = scale * np.float32(0.5)
    return _pack(tensor, lambda rows: np.add(rows > half, rows >= -half, dtype=np.uint8)), scale


def pack_unpacked(tensor: StoredTensor) -> NDArray[np.uint8]:
    """Pack ternary weights [out, in] that are stored as the floats -1, 0 and 1.

    Returns:
        uint8 [out / 4, in], packed as in `TernaryMatrix`.

    Raises:
        CheckpointError: A weight has another value.
    """

    def codes(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        if not np.isin(rows, (-1.0, 0.0, 1.0)).all():
            raise tensor.error(
                "has a weight_scale, but also values other than -1, 0 and 1; if these are master weights, remove the "
                'weight_scale tensors and set quantization_config.quantization_mode to "online"'
            )
        return (rows + 1).astype(np.uint8)

    return _pack(tensor, codes)


def _pack(tensor: StoredTensor, to_codes: _RowsToCodes) -> NDArray[np.uint8]:
    """Pack a float tensor [out, in] and drop its pages from memory.

    Args:
        tensor: The tensor.
        to_codes: Turns rows, float32 [n, in], into codes 0, 1 and 2.

    Returns:
        uint8 [out / 4, in].
    """
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
