"""The software that is only for a Tenstorrent card: ttnn, and the compiler for the card's cores that it calls."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bitnet_tt.cli.doctor.check import Check, read

_EXTRA = "uv sync --extra tt (x86-64 Linux, glibc 2.34, Python 3.12)"
_COMPILER = "compiler/bin/riscv-tt-elf-g++"
_SECONDS = 10


def check_toolchain(root: Path) -> list[Check]:
    """Both checks."""
    spec = importlib.util.find_spec("ttnn")
    package = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    return [_ttnn(package), _sfpi(root, package)]


def _ttnn(package: Path | None) -> Check:
    wanted = _match(r"ttnn==([\w.]+)", " ".join(requires("bitnet-tt") or []))
    if package is None:
        return Check("ttnn", "missing", "not installed", f"only for Tenstorrent cards: {_EXTRA}")
    try:
        found = version("ttnn")
    except PackageNotFoundError:
        return Check("ttnn", "warn", f"not the wheel, but {package}", f"made for ttnn {wanted}: {_EXTRA}")
    if wanted and found != wanted:
        return Check("ttnn", "warn", found, f"made for ttnn {wanted}: {_EXTRA}")
    return Check("ttnn", "ok", found)


def _sfpi(root: Path, package: Path | None) -> Check:
    """The compiler ttnn would call, and whether it is the version that this ttnn was made with."""
    runtime = os.environ.get("TT_METAL_RUNTIME_ROOT") or package  # ttnn's own setting, and what it is by default
    places = [Path(runtime) / "runtime/sfpi"] if runtime else []
    compilers = [place / _COMPILER for place in (*places, root / "opt/tenstorrent/sfpi")]
    release = read(package / "tt_metal/sfpi-version") if package else ""
    wanted, home = _match(r"sfpi_version='([^']+)'", release), _match(r"sfpi_repo='([^']+)'", release)
    remedy = "only for a card or a simulator: install "
    remedy += f"SFPI {wanted} from {home}/releases/tag/{wanted}" if wanted else "ttnn, which says which SFPI it needs"
    compiler = next((path for path in compilers if path.is_file()), None)
    if compiler is None:
        return Check("SFPI", "missing", "no compiler for Tensix cores", remedy)
    found = _match(r"sfpi:([\w.]+)", _ask_version(compiler))
    text = f"{found or 'of unknown version'} in {compiler.parents[2]}"
    if not found or (wanted and found != wanted):
        return Check("SFPI", "warn", text, remedy)
    return Check("SFPI", "ok", text)


def _ask_version(compiler: Path) -> str:
    try:
        answer = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
