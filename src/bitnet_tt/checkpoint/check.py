"""What a damaged or mistaken upload looks like, tested at load: each finding names its file and tensor.

People met re-uploads with blanked tensors, other packings of the same bytes, and half downloads; all of them load and
then write gibberish. These checks read each byte once, at about the speed of memory, and copy nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.tensor import StoredTensor

_CHUNK_BYTES = 1 << 18
_LOW_BITS = np.uint64(0x5555555555555555)
_PAIRS = np.uint64(0x3333333333333333)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTE_SUM = np.uint64(0x0101010101010101)
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
    exponent = np.uint16(0x7F80) if values.dtype == np.uint16 else np.uint32(0x7F800000)
    for chunk in _chunks(values.view(exponent.dtype)):
        if np.bitwise_and(chunk, exponent).max() == exponent:
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
    zeros = 0
    for chunk in _chunks(packed):
        words = _as_words(chunk)
        high = words >> np.uint64(1)
        high &= words
        high &= _LOW_BITS
        if high.any():
            raise tensor.error(f"holds the code 3, which no ternary weight has; {_DAMAGED}")
        zeros += _count(words & _LOW_BITS)
    if zeros > total * _IMPLAUSIBLE:
        raise tensor.error(f"is zero in {zeros / total:.1%} of its weights: it was blanked; {_DAMAGED}")
    if zeros < total * (1 - _IMPLAUSIBLE):
        plus = sum(_count((_as_words(chunk) >> np.uint64(1)) & _LOW_BITS) for chunk in _chunks(packed))
        if max(plus, total - zeros - plus) > total * _IMPLAUSIBLE:
            raise tensor.error(f"has the same value almost everywhere: it was blanked; {_DAMAGED}")


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    flat = values.reshape(-1)
    step = _CHUNK_BYTES // flat.itemsize
    for start in range(0, flat.size, step):
        yield flat[start : start + step]


def _as_words(chunk: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Look at bytes eight at a time; a shorter end is filled with zero bytes (four codes 0 each)."""
    return (chunk if chunk.size % 8 == 0 else np.pad(chunk, (0, -chunk.size % 8))).view(np.uint64)


def _count(bits: NDArray[np.uint64]) -> int:
    """Count set bits, all of which are at even places; sums of ever wider fields within the words."""
    pairs = bits >> np.uint64(2)
    pairs &= _PAIRS
    bits &= _PAIRS
    pairs += bits
    nibbles = pairs >> np.uint64(4)
    nibbles += pairs
    nibbles &= _NIBBLES
    nibbles *= _BYTE_SUM
    nibbles >>= np.uint64(56)
    return int(nibbles.sum())
