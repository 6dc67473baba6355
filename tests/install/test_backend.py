"""The build backend compiles with the machine's compiler if that one is usable, and asks PyPI for zig if not."""

from __future__ import annotations

import importlib.util
import shutil
import stat
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(ROOT)
    for name in ("CXX", "BITNET_ZIG"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "native/build_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def needs_zig(backend: ModuleType) -> bool:
    wheel, editable = backend.get_requires_for_build_wheel(), backend.get_requires_for_build_editable()
    assert (backend.ZIG in wheel) == (backend.ZIG in editable)
    return backend.ZIG in wheel


def test_a_usable_compiler_is_used(backend: ModuleType) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no c++ is installed")
    assert backend.usable_compiler() == "c++"
    assert not needs_zig(backend)


def test_without_a_compiler_zig_is(backend: ModuleType, programs: Path) -> None:
    assert backend.usable_compiler() is None
    assert needs_zig(backend)


def test_an_old_compiler_is_passed_over(backend: ModuleType, programs: Path) -> None:
    write_program(programs / "c++", "exit 1")
    assert needs_zig(backend)
    write_program(programs / "clang++", "exit 0")
    assert backend.usable_compiler() == "clang++"
    assert not needs_zig(backend)


@pytest.mark.parametrize("version", ["-D__GNUC__=9", "-D__clang__ -D__clang_major__=11"])
def test_the_versions_of_old_compilers_are_known(backend: ModuleType, programs: Path, version: str) -> None:
    compiler = shutil.which("c++", path="/usr/bin:/usr/local/bin")
    if compiler is None:
        pytest.skip("no c++ is installed")
    undefine = "-U__GNUC__" if "GNUC" in version else ""
    write_program(programs / "c++", f'PATH=/usr/bin:/bin exec {compiler} {undefine} {version} "$@"')
    assert backend.usable_compiler() is None


def test_the_users_own_choice_is_never_replaced(
    backend: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "g++-10")
    assert not needs_zig(backend)
    monkeypatch.setenv("BITNET_ZIG", "aarch64")
    assert needs_zig(backend)


def test_a_build_without_compiler_and_zig_says_what_to_install(
    backend: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"g\+\+ 10 or later, or pip install ziglang"):
        backend.build_wheel("unused")


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
