"""Constants of the GGUF format: ids of tensor types, the blocks of each type, and ids of metadata types.

Reader and writer share this table. See `type_names` for the types that we do not read.
"""

from __future__ import annotations

import math
from enum import IntEnum

DEFAULT_ALIGNMENT = 32
"""Every tensor begins at a multiple of this many bytes, unless `general.alignment` gives another number."""

TYPE_IDS = {"F32": 0, "F16": 1, "BF16": 30}
TYPE_IDS |= {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
TYPE_IDS |= {"Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}
TYPE_IDS |= {"TQ1_0": 34, "TQ2_0": 35, "I2_S": 36, "Q2_0": 42, "PQ2_0": 142}
"""Id of each tensor type that we read and that has an id of its own."""

BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2)}
BLOCKS |= {"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)}
BLOCKS |= {"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)}
BLOCKS |= {"TQ1_0": (256, 54), "TQ2_0": (256, 66), "I2_S": (128, 32)}
BLOCKS |= {"Q2_0": (64, 18), "Q2_0 in blocks of 128": (128, 34), "PQ2_0": (128, 34)}
"""Values per block and bytes per block of each tensor type that we read."""

I2_S_TAIL_BYTES = 32
"""An I2_S tensor ends with its float32 scale, padded to this many bytes."""


class ValueType(IntEnum):
    """Ids of the metadata types that are not plain scalars, and of the scalars that we write."""

    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9


SCALAR_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Format of each scalar metadata type, as the `struct` module writes it."""


def stored_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor in a file. Its number of values must be whole blocks."""
    values, size = BLOCKS[dtype]
    return math.prod(shape) // values * size + (I2_S_TAIL_BYTES if dtype == "I2_S" else 0)
