"""Split GGUF files in the way of gguf-split, and by hand so that the parts can be wrong in one known way."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitnet_tt.formats.gguf import read
from bitnet_tt.formats.gguf.types import TYPE_IDS
from bitnet_tt.formats.tensor import StoredTensor
from tests.formats.gguf_bytes import text

UINT16, INT32, STRING = 2, 5, 8
FORMATS = {0: "<B", UINT16: "<H", 3: "<h", 4: "<I", INT32: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q"}

Pairs = Mapping[str, tuple[int, Any]]
"""Metadata with the type id of each value."""


@dataclass
class Part:
    """What to write into a part: the bytes of metadata pairs, the number of pairs, more pairs, and tensors."""

    tensors: Sequence[StoredTensor]
    pairs: dict[str, tuple[int, Any]] = field(default_factory=dict)
    head: bytes = b""
    head_pairs: int = 0

    def write(self, path: Path) -> None:
        pairs = b"".join(text(key.encode()) + _value(*value) for key, value in self.pairs.items())
        table, data = b"", b""
        for tensor in self.tensors:
            shape = tensor.shape[::-1]
            table += text(tensor.name.encode()) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            table += struct.pack("<IQ", TYPE_IDS[tensor.dtype], len(data))
            data += bytes(tensor.raw()) + bytes(-tensor.size % 32)
        counts = struct.pack("<IQQ", 3, len(self.tensors), self.head_pairs + len(self.pairs))
        header = b"GGUF" + counts + self.head + pairs + table
        path.write_bytes(header + bytes(-len(header) % 32) + data)


def _value(kind: int, value: Any) -> bytes:
    return struct.pack("<I", kind) + (text(value.encode()) if kind == STRING else struct.pack(FORMATS[kind], value))


def parts_of(whole: Path, sizes: Sequence[int]) -> list[Part]:
    """Return the parts of a file: the first `sizes[0]` tensors and the metadata, the next `sizes[1]`, and so on."""
    tensors = list(read(whole).tensors.values())
    assert sum(sizes) == len(tensors)
    data = whole.read_bytes()
    pairs = int.from_bytes(data[16:24], "little")
    first = min(data.index(text(tensor.name.encode())) for tensor in tensors)
    parts = []
    for number, size in enumerate(sizes):
        kept, tensors = tensors[:size], tensors[size:]
        part = Part(kept, split_pairs(number, len(sizes), sum(sizes)))
        if number == 0:
            part.head, part.head_pairs = data[24:first], pairs
        parts.append(part)
    return parts


def split_pairs(number: int, count: int, total: int) -> dict[str, tuple[int, Any]]:
    """The metadata of a part; `number` counts from 0."""
    return {
        "split.no": (UINT16, number),
        "split.count": (UINT16, count),
        "split.tensors.count": (INT32, total),
    }


def name_of(number: int, count: int, stem: str = "model", ending: str = ".gguf") -> str:
    """The name of a part; `number` counts from 0."""
    return f"{stem}-{number + 1:05d}-of-{count:05d}{ending}"


def write_parts(folder: Path, parts: Sequence[Part], stem: str = "model", ending: str = ".gguf") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name_of(number, len(parts), stem, ending) for number in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        part.write(path)
    return paths
