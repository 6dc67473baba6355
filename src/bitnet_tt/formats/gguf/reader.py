"""The GGUF container: metadata and tensor table, every count and length checked before it is believed.

Layout (ggml-org/ggml, docs/gguf.md): magic, version, counts; key/value pairs; tensor table; then, aligned, the data.
The type ids 36, 38 and 39 are taken as bitnet.cpp means them. Both byte orders exist; only little-endian is read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.mapped import MappedFile

DEFAULT_ALIGNMENT = 32
I2_S_TAIL_BYTES = 32
"""After its codes an I2_S tensor has a float32 scale, padded to this many bytes."""

TYPE_IDS = {"F32": 0, "F16": 1, "Q8_0": 8, "Q6_K": 14, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "I2_S": 36}
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q6_K": (256, 210)}
BLOCKS |= {"TQ1_0": (256, 54), "TQ2_0": (256, 66), "I2_S": (128, 32)}
"""Values and bytes of a block of each type that can be read."""

_NAMES = {type_id: name for name, type_id in TYPE_IDS.items()}
_REFUSED = {2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 15: "Q8_K"}
_MACHINE_BOUND = {38: "TL1", 39: "TL2"}
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
_MAX_NAME_BYTES = 65535
_DAMAGED = "the file is damaged or incomplete: download it again"


@dataclass(frozen=True, slots=True)
class GGUF:
    """A GGUF file's metadata by key, and its tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


def read(path: Path) -> GGUF:
    """Read the metadata and find every tensor.

    Raises:
        CheckpointError: Not GGUF, damaged, or with a tensor type that cannot be read; the message says what to do.
    """
    cursor = _Cursor(MappedFile(path))
    tensor_count, metadata = _read_metadata(cursor)
    return GGUF(metadata, _read_tensors(cursor, tensor_count, metadata))


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata alone, as int, float, bool, str and lists of them.

    Raises:
        CheckpointError: Not GGUF, or damaged.
    """
    return _read_metadata(_Cursor(MappedFile(path)))[1]


class _Cursor:
    """Reads forward through a file, never beyond its end."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self.offset = 0

    def error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.file.path} {problem}; {_DAMAGED}")

    def take(self, size: int) -> bytes:
        data = self.file.read(self.offset, size)
        if len(data) != size:
            raise self.error(f"ends at byte {self.file.size}, within its header")
        self.offset += size
        return data

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, item_bytes: int) -> int:
        """A number of items to come, each of at least so many bytes."""
        count = int(self.scalar("<Q"))
        if count * item_bytes > self.file.size - self.offset:
            raise self.error(f"claims {count} items in its header, more than it has bytes for")
        return count

    def text(self) -> str:
        return self.take(self.count(1)).decode("utf-8", errors="replace")


def _read_metadata(cursor: _Cursor) -> tuple[int, dict[str, Any]]:
    if cursor.file.read(0, 4) != b"GGUF":
        raise CheckpointError(f"{cursor.file.path} is not a GGUF file; of a safetensors model give the folder")
    cursor.offset = 4
    version = cursor.scalar("<I")
    if version not in (2, 3):
        raise CheckpointError(f"{cursor.file.path} is GGUF version {version}; little-endian versions 2 and 3 are read")
    tensor_count = cursor.count(24)
    metadata: dict[str, Any] = {}
    for _ in range(cursor.count(13)):
        key = cursor.text()
        if key in metadata or len(key) > _MAX_NAME_BYTES:
            raise cursor.error(f"has the metadata key {key[:80]!r} twice, or it is too long")
        metadata[key] = _read_value(cursor, cursor.scalar("<I"))
    return tensor_count, metadata


def _read_value(cursor: _Cursor, kind: int) -> Any:
    if kind == _ARRAY:
        item_kind = cursor.scalar("<I")
        if item_kind == _STRING:
            return [cursor.text() for _ in range(cursor.count(8))]
        if item_kind not in _SCALARS:
            raise cursor.error(f"has a metadata array of unknown type {item_kind}")
        form = _SCALARS[item_kind]
        count = cursor.count(struct.calcsize(form))
        return list(struct.unpack(f"<{count}{form[1]}", cursor.take(count * struct.calcsize(form))))
    if kind == _STRING:
        return cursor.text()
    if kind not in _SCALARS:
        raise cursor.error(f"has a metadata value of unknown type {kind}")
    value = cursor.scalar(_SCALARS[kind])
    return float(str(np.float32(value))) if kind == _FLOAT32 else value  # 1e-05, and not 9.999999747378752e-06


def _read_tensors(cursor: _Cursor, count: int, metadata: dict[str, Any]) -> dict[str, StoredTensor]:
    table: list[tuple[str, str, tuple[int, ...], int]] = []
    for _ in range(count):
        name = cursor.text()
        dimensions = cursor.scalar("<I")
        if not 1 <= dimensions <= 4:
            raise cursor.error(f"gives tensor {name[:80]!r} {dimensions} dimensions")
        shape = tuple(int(cursor.scalar("<Q")) for _ in range(dimensions))[::-1]
        table.append((name, _type_name(cursor, name, cursor.scalar("<I")), shape, int(cursor.scalar("<Q"))))
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise cursor.error(f"has general.alignment {alignment!r}, which is not a power of two")
    start = -(-cursor.offset // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    end = start
    for name, dtype, shape, offset in sorted(table, key=lambda entry: entry[3]):
        tensor = StoredTensor(name, dtype, shape, start + offset, _stored_size(dtype, shape), cursor.file)
        if not all(shape) or shape[-1] % BLOCKS[dtype][0]:
            raise tensor.error(f"has shape {list(shape)}, whose rows are not whole blocks of {dtype}; {_DAMAGED}")
        if tensor.offset < end or tensor.offset % alignment:
            raise tensor.error(f"begins at byte {tensor.offset}, inside another tensor or unaligned; {_DAMAGED}")
        end = tensor.offset + tensor.size
        if end > cursor.file.size:
            raise tensor.error(f"reaches beyond the end of the file, at byte {cursor.file.size}; {_DAMAGED}")
        if name in tensors:
            raise tensor.error(f"occurs twice; {_DAMAGED}")
        tensors[name] = tensor
    return tensors


def _type_name(cursor: _Cursor, tensor: str, type_id: int) -> str:
    if type_id in _NAMES:
        return _NAMES[type_id]
    where = f"{cursor.file.path}: tensor {tensor[:80]} has type"
    if type_id in _MACHINE_BOUND:
        raise CheckpointError(
            f"{where} {_MACHINE_BOUND[type_id]}, which is cut for one machine's kernels; download the I2_S file of "
            "this model, or its safetensors, instead"
        )
    raise CheckpointError(
        f"{where} {_REFUSED.get(type_id, type_id)}, which cannot be read; BitNet weights are I2_S, TQ1_0 or TQ2_0, and "
        "embeddings F32, F16, BF16, Q8_0 or Q6_K: download such a file, or the safetensors"
    )


def _stored_size(dtype: str, shape: tuple[int, ...]) -> int:
    values, size = BLOCKS[dtype]
    return math.prod(shape) // values * size + (I2_S_TAIL_BYTES if dtype == "I2_S" else 0)
