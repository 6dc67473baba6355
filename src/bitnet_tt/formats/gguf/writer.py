"""Safetensors and GGUF files, written tensor by tensor from arrays that may lie in another file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.formats.gguf.reader import DEFAULT_ALIGNMENT, TYPE_IDS
from bitnet_tt.formats.tensor import PLAIN_DTYPES, Progress

_CHUNK_BYTES = 1 << 24
_SAFETENSORS_DTYPES = {np.dtype(array_type): name for name, array_type in PLAIN_DTYPES.items()}
_HEADER_ALIGNMENT = 64

_Written = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """A tensor to be written: its type, and its bytes in parts that are made when they are due."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    parts: Callable[[], Iterator[NDArray[Any]]]


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]], progress: Progress | None = None) -> None:
    """Write one safetensors file; uint16 arrays are bfloat16.

    The widest types come first, so that every tensor is aligned to its type, and the data begins at a multiple of 64.

    Args:
        path: The file, which must not exist.
        tensors: Arrays of uint8, uint16, float16 or float32 by name.
        progress: Called with the bytes written and the bytes in all.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, array in ordered:
        end = offset + array.nbytes
        dtype = _SAFETENSORS_DTYPES[array.dtype]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _HEADER_ALIGNMENT)
    written = _counter(offset, progress)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            _write_array(file, array, written)


def write_gguf(
    path: Path, metadata: Mapping[str, Any], tensors: Sequence[GGUFTensor], progress: Progress | None = None
) -> None:
    """Write a GGUF version 3 file.

    Args:
        path: The file, which must not exist.
        metadata: str, bool, int (as uint32), float (as float32), lists of str, int (as int32), float (as float32).
        tensors: In the order in which they are to lie in the file.
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
        offset += tensor.size + -tensor.size % DEFAULT_ALIGNMENT
    header += bytes(-len(header) % DEFAULT_ALIGNMENT)
    written = _counter(offset, progress)
    with path.open("xb") as file:
        file.write(header)
        for tensor in tensors:
            for part in tensor.parts():
                _write_array(file, part, written)
            file.write(bytes(-tensor.size % DEFAULT_ALIGNMENT))


def _counter(total: int, progress: Progress | None) -> _Written:
    done = 0

    def written(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    return written


def _write_array(file: BinaryIO, array: NDArray[Any], written: _Written) -> None:
    data = memoryview(np.ascontiguousarray(array)).cast("B")
    for start in range(0, len(data), _CHUNK_BYTES):
        written(file.write(data[start : start + _CHUNK_BYTES]))


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> Iterator[bytes]:
    """The type ids and bytes of a metadata value."""
    if isinstance(value, list):
        yield struct.pack("<I", 9)
        if value and isinstance(value[0], str):
            yield struct.pack("<IQ", 8, len(value))
            yield from map(_text, value)
        elif value and isinstance(value[0], float):
            yield struct.pack(f"<IQ{len(value)}f", 6, len(value), *value)
        else:
            yield struct.pack(f"<IQ{len(value)}i", 5, len(value), *value)
    elif isinstance(value, str):
        yield struct.pack("<I", 8) + _text(value)
    elif isinstance(value, bool):
        yield struct.pack("<I?", 7, value)
    elif isinstance(value, float):
        yield struct.pack("<If", 6, value)
    else:
        yield struct.pack("<II", 4, value)
