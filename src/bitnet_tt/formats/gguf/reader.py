"""Read the metadata and the tensor table of a GGUF file. Every count and length is checked before it is used.

Layout of a file (ggml-org/ggml, docs/gguf.md): magic, version, two counts; key/value pairs; the tensor table; then the
tensors' bytes, each tensor aligned. Files exist in both byte orders; we read little-endian ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf.type_names import refusal, type_name
from bitnet_tt.formats.gguf.types import BLOCKS, DEFAULT_ALIGNMENT, SCALAR_FORMATS, ValueType, stored_size
from bitnet_tt.formats.tensor import DAMAGED, StoredTensor
from bitnet_tt.mapped import MappedFile

_MAX_KEY_LENGTH = 65535
_MIN_PAIR_BYTES = 13
"""A key/value pair takes at least an empty key (8 bytes), a type id (4) and a value (1)."""
_MIN_ARRAY_BYTES = 12
"""An array takes at least the type id of its items (4 bytes) and their number (8)."""
_MAX_ARRAY_DEPTH = 16
"""Arrays may hold arrays. Deeper ones than this are refused, so that no file exhausts the stack."""
_MIN_TABLE_ENTRY_BYTES = 24
"""An entry of the tensor table takes at least an empty name (8 bytes), the number of dimensions (4), a type id (4) and
an offset (8)."""


@dataclass(frozen=True, slots=True)
class GGUF:
    """The contents of a GGUF model.

    Attributes:
        metadata: The metadata by key.
        tensors: The tensors by name, in the order of their offsets.
        files: The files that hold the model: one, or the parts of a split one.
    """

    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]
    files: tuple[MappedFile, ...] = ()


def is_gguf_name(name: str | Path) -> bool:
    """Return whether a file's name ends in .gguf, in capitals or not."""
    return str(name).lower().endswith(".gguf")


def read_file(path: Path) -> GGUF:
    """Read the metadata of one file and find every tensor in it. No tensor data is read.

    Raises:
        CheckpointError: The file is not GGUF, is damaged, or has a tensor type that we do not read.
    """
    cursor = _Cursor(MappedFile(path))
    tensor_count, metadata = _read_metadata(cursor)
    return GGUF(metadata, _read_tensors(cursor, tensor_count, metadata), (cursor.file,))


def read_file_metadata(path: Path) -> dict[str, Any]:
    """Read only the metadata of one file: values of type int, float, bool or str, or lists of these or of lists.

    Raises:
        CheckpointError: The file is not GGUF, or is damaged.
    """
    return _read_metadata(_Cursor(MappedFile(path)))[1]


class _TableEntry(NamedTuple):
    """An entry of the tensor table. `offset` counts from the end of the header, in bytes."""

    name: str
    type_id: int
    shape: tuple[int, ...]
    offset: int


class _Cursor:
    """A position in a file. It moves forward with each read and never passes the end."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self.offset = 0

    def error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.file.path} {problem}; {DAMAGED}")

    def take(self, size: int) -> bytes:
        data = self.file.read(self.offset, size)
        if len(data) != size:
            raise self.error(f"ends at byte {self.file.size}, inside its header")
        self.offset += size
        return data

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, item_bytes: int) -> int:
        """Read a number of items that follow, each at least `item_bytes` long, and check that they fit in the file."""
        count = int(self.scalar("<Q"))
        if count * item_bytes > self.file.size - self.offset:
            raise self.error(f"claims {count} items in its header, more than fit in the file")
        return count

    def text(self) -> str:
        return self.take(self.count(1)).decode("utf-8", errors="replace")


def _read_metadata(cursor: _Cursor) -> tuple[int, dict[str, Any]]:
    if cursor.file.read(0, 4) != b"GGUF":
        raise CheckpointError(f"{cursor.file.path} is not a GGUF file; for a safetensors model, give its folder")
    cursor.offset = 4
    version = cursor.scalar("<I")
    if version not in (2, 3):
        raise CheckpointError(
            f"{cursor.file.path} is GGUF version {version}; only little-endian versions 2 and 3 can be read; "
            "download another file of this model"
        )
    tensor_count = cursor.count(_MIN_TABLE_ENTRY_BYTES)
    metadata: dict[str, Any] = {}
    for _ in range(cursor.count(_MIN_PAIR_BYTES)):
        key = cursor.text()
        if key in metadata:
            raise cursor.error(f"has the metadata key {key[:80]!r} twice")
        if len(key) > _MAX_KEY_LENGTH:
            raise cursor.error(f"has a metadata key longer than {_MAX_KEY_LENGTH} characters ({key[:80]!r}...)")
        metadata[key] = _read_value(cursor, cursor.scalar("<I"))
    return tensor_count, metadata


def _read_value(cursor: _Cursor, kind: int) -> Any:
    if kind == ValueType.ARRAY:
        return _read_array(cursor)
    if kind == ValueType.STRING:
        return cursor.text()
    if kind not in SCALAR_FORMATS:
        raise cursor.error(f"has a metadata value of unknown type {kind}")
    value = cursor.scalar(SCALAR_FORMATS[kind])
    if kind == ValueType.FLOAT32:
        return float(str(np.float32(value)))  # the shortest decimal of this float32: 1e-05, not 9.999999747378752e-06
    return value


def _read_array(cursor: _Cursor, depth: int = 1) -> list[Any]:
    """Read an array.

    Args:
        cursor: The position of the type id of its items.
        depth: 1 for the value of a key, 2 for an item of such an array, and so on.
    """
    if depth > _MAX_ARRAY_DEPTH:
        raise CheckpointError(
            f"{cursor.file.path} has a metadata array nested more than {_MAX_ARRAY_DEPTH} deep, which is not "
            "supported; download another file of this model"
        )
    kind = cursor.scalar("<I")
    if kind == ValueType.STRING:
        return [cursor.text() for _ in range(cursor.count(8))]
    if kind == ValueType.ARRAY:
        return [_read_array(cursor, depth + 1) for _ in range(cursor.count(_MIN_ARRAY_BYTES))]
    if kind not in SCALAR_FORMATS:
        raise cursor.error(f"has a metadata array of unknown type {kind}")
    form = SCALAR_FORMATS[kind]
    count = cursor.count(struct.calcsize(form))
    return list(struct.unpack(f"<{count}{form[1]}", cursor.take(count * struct.calcsize(form))))


def _read_tensors(cursor: _Cursor, count: int, metadata: dict[str, Any]) -> dict[str, StoredTensor]:
    """Read the tensor table and check that the tensors lie one after another inside the file."""
    table = sorted((_read_table_entry(cursor) for _ in range(count)), key=lambda entry: entry.offset)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise cursor.error(f"has general.alignment {alignment!r}, which is not a power of two up to 2**20")
    start = -(-cursor.offset // alignment) * alignment
    next_offsets = [*(entry.offset for entry in table), cursor.file.size - start][1:]
    tensors: dict[str, StoredTensor] = {}
    end = start
    for (name, type_id, shape, offset), next_offset in zip(table, next_offsets, strict=True):
        dtype = type_name(type_id, shape, next_offset - offset, alignment)
        if dtype not in BLOCKS:
            raise CheckpointError(f"{cursor.file.path}: tensor {name[:80]} has {refusal(type_id, dtype)}")
        tensor = StoredTensor(name, dtype, shape, start + offset, stored_size(dtype, shape), cursor.file)
        if not all(shape) or shape[-1] % BLOCKS[dtype][0]:
            raise tensor.error(f"has shape {list(shape)}, whose rows are not whole blocks of {dtype}; {DAMAGED}")
        if tensor.offset < end or tensor.offset % alignment:
            raise tensor.error(f"begins at byte {tensor.offset}, inside another tensor or not aligned; {DAMAGED}")
        end = tensor.offset + tensor.size
        if end > cursor.file.size:
            raise tensor.error(f"ends at byte {end}, but the file has only {cursor.file.size} bytes; {DAMAGED}")
        if name in tensors:
            raise tensor.error(f"occurs twice; {DAMAGED}")
        tensors[name] = tensor
    return tensors


def _read_table_entry(cursor: _Cursor) -> _TableEntry:
    name = cursor.text()
    dimensions = cursor.scalar("<I")
    if not 1 <= dimensions <= 4:
        raise cursor.error(f"gives tensor {name[:80]!r} {dimensions} dimensions, where 1 to 4 are possible")
    shape = tuple(int(cursor.scalar("<Q")) for _ in range(dimensions))[::-1]  # the file has the fastest-varying first
    return _TableEntry(name, int(cursor.scalar("<I")), shape, int(cursor.scalar("<Q")))
