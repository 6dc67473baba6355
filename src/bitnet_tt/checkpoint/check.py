"""Checks at load that find damaged or mistaken checkpoints. Each error names the file and the tensor.

Users have met re-uploads with zeroed tensors, weights packed in another layout, and incomplete downloads. Such files
can load without an error, and the model then writes nonsense. The checks read each byte once, at about the speed of
memory, and copy nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.formats.tensor import StoredTensor

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads of a check. More than four gain little, because memory bandwidth is the limit."""
_MAX_SHARE = 0.99
"""The largest plausible share of one value among the codes of a tensor."""

_DAMAGED = "the file is damaged or was packed in another layout; download the original again"


def check_names(
    tensors: Mapping[str, StoredTensor], used: Collection[str], ignored: Collection[str], settings: str
) -> None:
    """Refuse tensors that were not loaded: the architecture is then not the one that the settings describe.

    Args:
        tensors: Every tensor of the checkpoint, by canonical name.
        used: Canonical names of the tensors that were loaded.
        ignored: Endings of the names of tensors that need not be loaded.
        settings: The settings that determine which tensors there are, for the error message.

    Raises:
        CheckpointError: A tensor was not loaded.
    """
    extra = [t for name, t in tensors.items() if name not in used and not name.endswith(tuple(ignored))]
    if extra:
        count = f"is one of {len(extra)} that have" if len(extra) > 1 else "has"
        raise extra[0].error(f"{count} no place in this architecture; check {settings}")


def check_shape(tensor: StoredTensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor whose shape does not fit the config.

    Raises:
        CheckpointError: The shapes differ.
    """
    if tensor.shape != shape:
        raise tensor.error(f"has shape {list(tensor.shape)}, but the config requires {list(shape)}; {_DAMAGED}")


def check_scale(tensor: StoredTensor, scale: np.float32) -> None:
    """Refuse a weight scale that is zero, negative, NaN or infinite.

    Raises:
        CheckpointError: The scale is one of these.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise tensor.error(f"gives a weight scale of {scale}, but a scale must be finite and above 0; {_DAMAGED}")


def check_finite(tensor: StoredTensor, values: NDArray[Any]) -> None:
    """Refuse NaN and infinity.

    Args:
        tensor: The tensor that the values come from.
        values: float32, or bfloat16 as its bits in uint16.

    Raises:
        CheckpointError: A value is NaN or infinite.
    """
    if values.dtype == np.uint16:
        require_finite(tensor, _native.all_finite(values.reshape(-1).view(np.uint8), THREADS))
    else:
        require_finite(tensor, bool(np.isfinite(values).all()))


def require_finite(tensor: StoredTensor, finite: bool) -> None:
    """Refuse a tensor of which not all values are finite.

    Raises:
        CheckpointError: They are not.
    """
    if not finite:
        raise tensor.error(f"holds NaN or infinity; {_DAMAGED}")


def check_packed(tensor: StoredTensor, packed: NDArray[np.uint8]) -> None:
    """Refuse codes that are not trained ternary weights: the unused code 3, or one value almost everywhere.

    Whole rows of zeros (dead channels) are normal. More than 99 % of one value is not: about 58 % of the weights of a
    trained tensor are not zero.

    Args:
        tensor: The tensor that the codes come from.
        packed: uint8, four two-bit codes per byte, of any shape.

    Raises:
        CheckpointError: The codes are not those of a trained tensor.
    """
    check_counts(tensor, _native.count_codes(packed.reshape(-1), THREADS))


def check_counts(tensor: StoredTensor, counts: tuple[int, int, int, int]) -> None:
    """Do what `check_packed` says, from the counts of the codes: the code 3, -1, 0 and +1.

    Raises:
        CheckpointError: The codes are not those of a trained tensor.
    """
    invalid, *valid = counts
    if invalid:
        raise tensor.error(f"holds the code 3, which stands for no ternary weight; {_DAMAGED}")
    check_values(tensor, valid)


def count_values(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often the codes 0, 1, 2 and 3 occur in bytes of four codes each, of any shape."""
    codes = codes.reshape(-1)
    invalid, *counts = _native.count_codes(codes, THREADS)
    if not invalid:
        return np.array([*counts, 0], np.int64)
    fields = np.arange(256)[:, None] >> np.arange(0, 8, 2) & 3
    occurrences = np.bincount(codes, minlength=256)
    return np.array([occurrences @ (fields == code).sum(axis=1) for code in range(4)], np.int64)


def check_values(tensor: StoredTensor, counts: Sequence[int]) -> None:
    """Refuse weights of which more than 99 % have the same value.

    Args:
        tensor: The tensor that the weights come from.
        counts: How many weights are -1, 0 and +1, and maybe other values.

    Raises:
        CheckpointError: They do.
    """
    total, zeros = sum(counts), counts[1]
    if zeros > total * _MAX_SHARE:
        raise tensor.error(f"is zero in {zeros / total:.1%} of its weights, so it was erased; {_DAMAGED}")
    same = max(counts)
    if same > total * _MAX_SHARE:
        raise tensor.error(f"has the same value in {same / total:.1%} of its weights, so it was erased; {_DAMAGED}")
