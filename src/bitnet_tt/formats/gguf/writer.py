"""Write a GGUF file tensor by tensor; the stored form of each tensor is made when its turn comes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from bitnet_tt.formats.array_writer import ArrayWriter
from bitnet_tt.formats.gguf.types import DEFAULT_ALIGNMENT, TYPE_IDS, ValueType, stored_size
from bitnet_tt.formats.tensor import Progress

_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """A tensor to write.

    Attributes:
        name: Its name in the file.
        dtype: Its type, a key of `TYPE_IDS`.
        shape: Sizes, slowest-varying first.
        parts: Makes the stored bytes as arrays, in order. It is called once, when the tensor is written.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[NDArray[Any]]]

    @classmethod
    def of_rows(
        cls,
        name: str,
        dtype: str,
        values: NDArray[Any],
        convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    ) -> Self:
        """Describe a tensor of an array's shape that is written 1024 rows at a time.

        Args:
            name: Its name in the file.
            dtype: Its type in the file.
            values: The array.
            convert: Turns rows of the array into what the file stores. By default rows are stored as they are.
        """
        return cls(name, dtype, values.shape, partial(_row_parts, values, convert))

    @property
    def size(self) -> int:
        """Bytes in the file, without padding."""
        return stored_size(self.dtype, self.shape)


def write_gguf(
    path: Path, metadata: Mapping[str, Any], tensors: Sequence[GGUFTensor], progress: Progress | None = None
) -> None:
    """Write a GGUF version 3 file.

    Args:
        path: The file, which must not exist.
        metadata: Values of type str, bool, int (stored as uint32) or float (stored as float32); or lists of str, of int
            (stored as int32) or of float (stored as float32).
        tensors: The tensors, in the order in which the file holds them.
        progress: Called with the bytes written and the bytes in all.
    """
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        header += _text(key) + b"".join(_value(value))
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        header += _text(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        header += struct.pack("<IQ", TYPE_IDS[tensor.dtype], offset)
        offset += tensor.size + _padding(tensor.size)
    header += bytes(_padding(len(header)))
    with path.open("xb") as file:
        file.write(header)
        writer = ArrayWriter(file, offset, progress)
        for tensor in tensors:
            for part in tensor.parts():
                writer.write(part)
            file.write(bytes(_padding(tensor.size)))


def _padding(size: int) -> int:
    return -size % DEFAULT_ALIGNMENT


def _row_parts(values: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[Any]] | None) -> Iterator[NDArray[Any]]:
    for start in range(0, len(values), _CHUNK_ROWS):
        rows = values[start : start + _CHUNK_ROWS]
        yield rows if convert is None else convert(rows)


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> Iterator[bytes]:
    """Yield the bytes of a metadata value, its type id first."""
    if isinstance(value, list):
        yield struct.pack("<I", ValueType.ARRAY)
        if value and isinstance(value[0], str):
            yield struct.pack("<IQ", ValueType.STRING, len(value))
            yield from map(_text, value)
        elif value and isinstance(value[0], float):
            yield struct.pack(f"<IQ{len(value)}f", ValueType.FLOAT32, len(value), *value)
        else:
            yield struct.pack(f"<IQ{len(value)}i", ValueType.INT32, len(value), *value)
    elif isinstance(value, str):
        yield struct.pack("<I", ValueType.STRING) + _text(value)
    elif isinstance(value, bool):
        yield struct.pack("<I?", ValueType.BOOL, value)
    elif isinstance(value, float):
        yield struct.pack("<If", ValueType.FLOAT32, value)
    else:
        yield struct.pack("<II", ValueType.UINT32, value)
