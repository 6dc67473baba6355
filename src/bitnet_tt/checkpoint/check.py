"""What a damaged or mistaken upload looks like, tested at load: each finding names its file and tensor.

People met re-uploads with blanked tensors, other packings of the same bytes, and half downloads; all of them load and
then write gibberish. These checks read each byte once, at about the speed of memory, and copy nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.formats.tensor import StoredTensor

_THREADS = min(4, len(os.sched_getaffinity(0)))
"""More gain little: memory is the limit."""
_IMPLAUSIBLE = 0.99

_DAMAGED = "the file is damaged or was packed in another layout; download the original again"


def check_names(tensors: Mapping[str, StoredTensor], used: Collection[str], harmless: Collection[str]) -> None:
    """Refuse tensors that nothing used: the architecture is then not what config.json says.

    Args:
        tensors: Every tensor of the checkpoint, by canonical name.
        used: Canonical names that were loaded.
        harmless: Endings of names that may be left over.

    Raises:
        CheckpointError: A tensor is left over.
    """
    extra = [t for name, t in tensors.items() if name not in used and not name.endswith(tuple(harmless))]
    if extra:
        count = f"is one of {len(extra)} that have" if len(extra) > 1 else "has"
        raise extra[0].error(f"{count} no place in this architecture; check model_type and the sizes in config.json")


def check_shape(tensor: StoredTensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor whose shape is not the one that the config calls for.

    Raises:
        CheckpointError: The shapes differ.
    """
    if tensor.shape != shape:
        raise tensor.error(f"has shape {list(tensor.shape)} where config.json calls for {list(shape)}; {_DAMAGED}")


def check_scale(tensor: StoredTensor, scale: np.float32) -> None:
    """Refuse a weight scale that is zero, negative, NaN or infinite.

    Raises:
        CheckpointError: No weight can have such a scale.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise tensor.error(f"gives a weight scale of {scale}, which must be finite and above 0; {_DAMAGED}")


def check_finite(tensor: StoredTensor, values: NDArray[Any]) -> None:
    """Refuse NaN and infinity.

    Args:
        tensor: What the values come from.
        values: float32, or uint16 for bfloat16 bits.

    Raises:
        CheckpointError: A value is NaN or infinite.
    """
    if values.dtype == np.uint16:
        finite = _native.all_finite(values.reshape(-1).view(np.uint8), _THREADS)
    else:
        finite = bool(np.isfinite(values).all())
    if not finite:
        raise tensor.error(f"holds NaN or infinity; {_DAMAGED}")


def check_packed(tensor: StoredTensor, packed: NDArray[np.uint8]) -> None:
    """Refuse codes that cannot be ternary weights: the unused code 3, or one value almost everywhere.

    Dead channels (whole rows of zeros) are normal; 99 % of a tensor being one value is not (usually 58 % is non-zero).

    Args:
        tensor: What the codes come from.
        packed: uint8, four two-bit codes a byte, of any shape.

    Raises:
        CheckpointError: The tensor is not what training leaves.
    """
    total = packed.size * 4
    invalid, minus, zeros, plus = _native.count_codes(packed.reshape(-1), _THREADS)
    if invalid:
        raise tensor.error(f"holds the code 3, which no ternary weight has; {_DAMAGED}")
    if zeros > total * _IMPLAUSIBLE:
        raise tensor.error(f"is zero in {zeros / total:.1%} of its weights: it was blanked; {_DAMAGED}")
    if max(minus, plus) > total * _IMPLAUSIBLE:
        raise tensor.error(f"has the same value almost everywhere: it was blanked; {_DAMAGED}")
