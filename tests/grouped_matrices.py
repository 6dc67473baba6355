"""Random ternary matrices with a scale for each group of columns, and their layout written out value by value."""

from __future__ import annotations

import numpy as np

from bitnet_tt.weights import GROUPED_ROWS, GroupedMatrix


def random_grouped(rng: np.random.Generator, out_features: int, in_features: int, group: int) -> GroupedMatrix:
    """Return a matrix of -1, 0 and +1 whose scales differ up to two times."""
    values = rng.integers(-1, 2, (out_features, in_features)).astype(np.int8)
    scales = rng.uniform(0.8, 1.6, (out_features, in_features // group)) / np.sqrt(in_features)
    return grouped_of(values, scales.astype(np.float16))


def grouped_of(values: np.ndarray, scales: np.ndarray) -> GroupedMatrix:
    """Lay out values int8 [out, in] of -1 to 2 and their scales float16 [out, groups], one value at a time."""
    out_features, in_features = values.shape
    group = in_features // scales.shape[1]
    blocks = np.zeros((-(-out_features // 16), in_features // group * (32 + 4 * group)), np.uint8)
    records = blocks.reshape(len(blocks), scales.shape[1], -1)
    for row in range(out_features):
        strip, lane = divmod(row, GROUPED_ROWS)
        for index in range(scales.shape[1]):
            record = records[strip, index]
            record[2 * lane : 2 * lane + 2] = scales[row, index : index + 1].view(np.uint8)
        codes = (values[row] + 1).astype(np.uint8).reshape(scales.shape[1], -1, 4, 4)  # group, word, byte, field
        words = np.bitwise_or.reduce(codes << np.array([0, 2, 4, 6], np.uint8), axis=3)
        records[strip, :, 2 * GROUPED_ROWS :].reshape(scales.shape[1], -1, GROUPED_ROWS, 4)[:, :, lane] = words
    return GroupedMatrix(blocks, out_features, in_features, group)
