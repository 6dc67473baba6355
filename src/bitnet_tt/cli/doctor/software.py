"""Checks of the software: Python, the native module of this package, a C++ compiler, optional packages."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from bitnet_tt.cli.doctor.check import Check


def check_software() -> list[Check]:
    """Return all checks of the software."""
    return [_python(), _native(), _compiler(), _torch()]


def _python() -> Check:
    found = f"{platform.python_implementation()} {platform.python_version()}, bitnet-tt {version('bitnet-tt')}"
    return Check("Python", "ok", found)


def _native() -> Check:
    try:
        backend = importlib.import_module("bitnet_tt.backends.cpu.backend")
        isas = list(backend.available_isas())
    except (ImportError, AttributeError) as error:
        remedy = "install bitnet-tt again"
        return Check("CPU backend", "missing", f"cannot be loaded: {error}", remedy, required=True)
    return Check("CPU backend", "ok", f"uses {isas[0]}; this CPU can run {', '.join(isas)}")


def _compiler() -> Check:
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        return Check("Compiler", "ok", "none; a build from source takes zig from PyPI")
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return Check("Compiler", "ok", next(iter(answer.stdout.splitlines()), compiler))


def _torch() -> Check:
    if importlib.util.find_spec("torch") is None:
        remedy = "needed only for bitnet_tt.pytorch, bitnet-tt export and training: uv sync --extra torch"
        return Check("torch", "missing", "not installed", remedy)
    try:
        return Check("torch", "ok", version("torch"))
    except PackageNotFoundError:
        return Check("torch", "ok", "installed")
