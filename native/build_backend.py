"""Builds the package with scikit-build-core. zig from PyPI is the compiler of machines without a usable one.

`BITNET_ZIG=x86_64` or `BITNET_ZIG=aarch64` in the environment asks for zig, and for that machine's code: `make wheels`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from scikit_build_core import build as backend
from scikit_build_core.build import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = dict[str, Any] | None

GLIBC = "2.17"
"""The oldest glibc that code from zig runs with."""

ZIG = "ziglang==0.17.1"
_NATIVE = Path(__file__).parent


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return the packages that a build needs: zig's too, if zig compiles."""
    return [*backend.get_requires_for_build_wheel(config_settings), *([ZIG] if zig_machine() else [])]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Return the packages that an editable build needs: zig's too, if zig compiles."""
    return [*backend.get_requires_for_build_editable(config_settings), *([ZIG] if zig_machine() else [])]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build a wheel into `wheel_directory`; return its name."""
    return backend.build_wheel(wheel_directory, _with_compiler(config_settings), metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build an editable wheel into `wheel_directory`; return its name."""
    return backend.build_editable(wheel_directory, _with_compiler(config_settings), metadata_directory)


def zig_machine() -> str | None:
    """Return the machine that zig compiles for, as `platform.machine()` names it; None if another compiler is used."""
    machine = os.environ.get("BITNET_ZIG")
    if machine or "CXX" in os.environ or usable_compiler() or platform.libc_ver()[0] != "glibc":
        return machine
    return platform.machine()


def usable_compiler() -> str | None:
    """Return the first C++ compiler on the PATH that can build the native part."""
    for name in filter(shutil.which, ("c++", "g++", "clang++")):
        with tempfile.TemporaryDirectory() as folder:
            command = [name, "-std=c++2a", str(_NATIVE / "compiler.cpp"), "-o", f"{folder}/program"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return name
    return None


def _with_compiler(settings: Settings) -> dict[str, Any]:
    """Return the settings of a build with the compiler that this machine has, or with zig."""
    settings = dict(settings or {})
    machine = zig_machine()
    if machine is None:
        if "CXX" not in os.environ and (compiler := usable_compiler()):
            os.environ["CXX"] = compiler
        return settings
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"no C++ compiler for {machine}: install g++ 10 or later, or pip install {ZIG}")
    # The toolchain file reads these. The last one is how scikit-build-core learns what to write into the wheel's name.
    os.environ["BITNET_ZIG_PROGRAM"] = str(Path(package.origin).with_name("zig"))
    os.environ["BITNET_ZIG_TARGET"] = f"{machine}-linux-gnu.{GLIBC}"
    os.environ["_PYTHON_HOST_PLATFORM"] = f"linux-{machine}"
    return settings | {"cmake.toolchain-file": str(_NATIVE / "zig.cmake")}
