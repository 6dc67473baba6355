"""A view of the installed ttnn whose kernel compiler is a stub or a real one, and the environment of ttnn's mock mode.

In mock mode the host does all of its part of an operation (validation, program, allocation). Nothing runs, and results
are zeros.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.device.mock.cluster import describe

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

_COMMAND = ["-c", "from bitnet_tt.cli import main; main()"]


def environment(root: Path, compiler: Path | None = None, cards: str = "") -> dict[str, str]:
    """Make the view in the folder `root`. Return the environment variables of a process in mock mode.

    Args:
        root: The folder to make.
        compiler: Folder of Tenstorrent's kernel compiler. None means a stub: kernels are then not compiled.
        cards: Several cards and their cables, see `cluster.describe`. Empty means one card.
    """
    spec = importlib.util.find_spec("ttnn")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    _link(package, root, but="runtime")
    _link(package / "runtime", root / "runtime", but="sfpi")
    sfpi = root / "runtime/sfpi"
    if compiler is None:
        (sfpi / "compiler/bin").mkdir(parents=True)
        shutil.copy(HERE / "compiler.sh", sfpi / "compiler/bin/riscv-tt-elf-g++")
        (sfpi / "kernel.elf").write_bytes(empty_kernel())
    else:
        sfpi.symlink_to(compiler)
    cluster = HERE / "blackhole.yaml"
    if cards:
        cluster = root / "cluster.yaml"
        cluster.write_text(describe(cards))
    ours = {
        "TT_METAL_RUNTIME_ROOT": str(root),
        "TT_METAL_CACHE": str(root / "cache"),
        "TT_METAL_MOCK_CLUSTER_DESC_PATH": str(cluster),
        "TT_LOGGER_LEVEL": "OFF",
        "TTNN_CONFIG_OVERRIDES": json.dumps({"model_cache_path": str(root / "models")}),
    }
    return {key: value for key, value in os.environ.items() if not key.startswith("TT")} | ours


def run(mock: dict[str, str], module: str, *arguments: str, seconds: int = 300) -> Any:
    """Run a module of this folder in mock mode, in a process of its own. Return the JSON value that it prints."""
    printed = _output(mock, ["-m", f"tests.device.mock.{module}", *arguments], seconds)
    return json.loads(next(line for line in printed.splitlines() if line.startswith(("{", "["))))


def command(mock: dict[str, str], *arguments: str, seconds: int = 300) -> str:
    """Run bitnet-tt in mock mode and return its output."""
    return _output(mock, [*_COMMAND, *arguments], seconds)


def failure(mock: dict[str, str], *arguments: str) -> str:
    """Run bitnet-tt in mock mode and return its error."""
    result = _process(mock, [*_COMMAND, *arguments], 300)
    assert result.returncode == 1, result.stdout
    return result.stderr


def _output(mock: dict[str, str], arguments: list[str], seconds: int) -> str:
    result = _process(mock, arguments, seconds)
    assert result.returncode == 0, result.stderr[-5000:]
    return result.stdout


def _process(mock: dict[str, str], arguments: list[str], seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(mock["TT_METAL_RUNTIME_ROOT"]).parent,  # ttnn leaves a folder where it runs
        env=mock | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def _link(source: Path, target: Path, but: str) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name != but:
            (target / entry.name).symlink_to(entry)


def empty_kernel() -> bytes:
    """Return a 32-bit RISC-V ELF file that returns at once, with the sections that ttnn's loader reads."""
    text = struct.pack("<I", 0x00008067)  # ret
    relocations = struct.pack("<IIi", 0, 0, 0)
    symbols = bytes(16)
    names = b"\0.text\0.rela.text\0.symtab\0.strtab\0"
    header_size, program_size, section_size = 52, 32, 40
    offset = header_size + program_size
    # name, type, flags, address, size, link, info, alignment, entry size
    sections = [
        (b"", 0, 0, b"", 0, 0, 0, 0),
        (b".text", 1, 6, text, 0, 0, 4, 0),
        (b".rela.text", 4, 0, relocations, 3, 1, 4, 12),
        (b".symtab", 2, 0, symbols, 4, 1, 4, 16),
        (b".strtab", 3, 0, names, 0, 0, 1, 0),
    ]
    body, table = b"", b""
    for name, kind, flags, data, link, info, alignment, entry in sections:
        start = offset + len(body)
        table += struct.pack(
            "<10I",
            names.index(name + b"\0"),
            kind,
            flags,
            0,
            start if kind else 0,
            len(data),
            link,
            info,
            alignment,
            entry,
        )
        body += data + bytes(-len(data) % 4)
    program = struct.pack("<8I", 1, offset, 0, 0, len(text), len(text), 5, 4)
    header = b"\x7fELF\1\1\1" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, 0, header_size, offset + len(body), 0, 52, 32, 1, 40, 5, 4)
    assert len(header) == header_size
    assert len(program) == program_size
    assert len(table) == section_size * len(sections)
    return header + program + body + table
