"""Unpack Tenstorrent's kernel compiler (SFPI) from the library of the package jax-tt-plugin. `make sfpi` runs this.

python tools/unpack_sfpi.py LIBRARY FOLDER

The library contains an archive (tar, compressed with Zstandard) of the files that its copy of tt-metal needs at run
time. The compiler is one folder of it. Nothing of the library runs.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

FRAME = bytes.fromhex("28b52ffd")
"""A Zstandard frame begins with these bytes, and by chance other data may contain them."""

ARCHIVED = "runtime/sfpi/"


def main(library: Path, folder: Path) -> None:
    """Unpack the compiler of a library into a folder, which is replaced.

    Raises:
        SystemExit: The library contains no compiler.
    """
    data = library.read_bytes()
    shutil.rmtree(folder, ignore_errors=True)
    for offset in _frames(data):
        stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(memoryview(data)[offset:]))
        try:
            _unpack(stream, folder)
        except (zstandard.ZstdError, tarfile.TarError):
            continue
        if (folder / "compiler/bin/riscv-tt-elf-g++").exists():
            return
    raise SystemExit(f"{library} contains no {ARCHIVED}")


def _frames(data: bytes) -> Iterator[int]:
    offset = data.find(FRAME)
    while offset >= 0:
        yield offset
        offset = data.find(FRAME, offset + 1)


def _unpack(stream: io.RawIOBase, folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.name.startswith(ARCHIVED):
                member.name = member.name.removeprefix(ARCHIVED)
                archive.extract(member, folder, filter="data")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
