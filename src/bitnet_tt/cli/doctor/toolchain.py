"""Checks of the software for Tenstorrent cards: ttnn, and the compiler that it calls for the card's cores (SFPI)."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bitnet_tt.backends.tt.environment import runtime_root
from bitnet_tt.cli.doctor.check import Check, read

_EXTRA = "uv sync --extra tt (x86-64 Linux, glibc 2.34, Python 3.12)"
_COMPILER = "compiler/bin/riscv-tt-elf-g++"

TIMEOUT_SECONDS = 10
"""Seconds that the compiler gets to print its version."""


def check_toolchain(root: Path) -> list[Check]:
    """Return the checks of ttnn and of SFPI."""
    package = find_ttnn()
    return [_ttnn(package), _sfpi(root, package)]


def find_ttnn() -> Path | None:
    """Return the folder of the installed ttnn, without importing it."""
    spec = importlib.util.find_spec("ttnn")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _ttnn(package: Path | None) -> Check:
    wanted = _find(r"ttnn==([\w.]+)", " ".join(requires("bitnet-tt") or []))
    if package is None:
        return Check("ttnn", "missing", "not installed", f"needed only for Tenstorrent cards: {_EXTRA}")
    try:
        found = version("ttnn")
    except PackageNotFoundError:
        return Check("ttnn", "warn", f"not the wheel, but {package}", f"bitnet-tt is made for ttnn {wanted}: {_EXTRA}")
    if wanted and found != wanted:
        return Check("ttnn", "warn", found, f"bitnet-tt is made for ttnn {wanted}: {_EXTRA}")
    return Check("ttnn", "ok", found)


def _sfpi(root: Path, package: Path | None) -> Check:
    """Find the compiler that ttnn would call, and compare its version with the one that this ttnn was built for."""
    runtime = runtime_root() or package
    places = [runtime / "runtime/sfpi"] if runtime else []
    compilers = [place / _COMPILER for place in (*places, root / "opt/tenstorrent/sfpi")]
    release = read(package / "tt_metal/sfpi-version") if package else ""
    wanted, home = _find(r"sfpi_version='([^']+)'", release), _find(r"sfpi_repo='([^']+)'", release)
    part = f"SFPI {wanted} from {home}/releases/tag/{wanted}" if wanted else "ttnn, which names the SFPI that it needs"
    remedy = f"needed only for a card or a simulator: install {part}"
    compiler = next((path for path in compilers if path.is_file()), None)
    if compiler is None:
        return Check("SFPI", "missing", "no compiler for Tensix cores", remedy)
    found = _find(r"sfpi:([\w.]+)", _ask_version(compiler))
    text = f"{found or 'of unknown version'} in {compiler.parents[2]}"
    if not found or (wanted and found != wanted):
        return Check("SFPI", "warn", text, remedy)
    return Check("SFPI", "ok", text)


def _ask_version(compiler: Path) -> str:
    try:
        answer = subprocess.run(
            [compiler, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
