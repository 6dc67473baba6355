"""Wheels and source builds work on machines without a compiler, and zig's modules give the bits of this machine's own.

`make test-wheels` runs these tests, after `make wheels`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.arm64 import VERSION, Arm64Python, missing_tool, unpack_python

pytestmark = [pytest.mark.minutes, pytest.mark.wheels]

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or "uv"  # uv run names its own program: a shim needs the PATH
COMMAND = "from bitnet_tt.cli import main; main()"
STORY = ("generate", "--model", "demo", "--max-new-tokens", "8", "Once upon a time")

# Prints a digest of all logits of a prompt, for each instruction set of this machine.
DIGESTS = """
import hashlib, json
from bitnet_tt import BitNetModel
from bitnet_tt.backends.cpu.backend import available_isas
digests = {}
for isa in available_isas():
    with BitNetModel.from_pretrained("demo", isa=isa) as model:
        logits = model.logits(model.tokenizer.encode("Once upon a time, there was a little fox who liked to count."))
        digests[isa] = hashlib.sha256(logits.tobytes()).hexdigest()
print(json.dumps(digests))
"""


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """Return the digests of the module of this checkout."""
    return json.loads(run(sys.executable, "-c", DIGESTS))


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no compiler, no CMake and no other program on the PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    assert [name for name in ("c++", "g++", "clang++", "cc", "gcc", "cmake", "ninja") if shutil.which(name)] == []


def test_the_wheel_runs_where_there_is_no_compiler(tmp_path: Path, bare: None, digests: dict[str, str]) -> None:
    python = create_environment(tmp_path / "venv")
    run(UV, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", wheel(platform.machine()))
    check_program(python, digests)


@pytest.mark.parametrize("version", ["3.13", "3.14"])
def test_the_wheel_runs_on_later_versions_of_python(tmp_path: Path, digests: dict[str, str], version: str) -> None:
    found = subprocess.run([UV, "python", "find", "--no-project", version], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"Python {version} is not installed")
    python = create_environment(tmp_path / "venv", found.stdout.strip())
    run(UV, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", wheel(platform.machine()))
    check_program(python, digests)


def test_pip_builds_from_source_with_zig(tmp_path: Path, bare: None, digests: dict[str, str]) -> None:
    python = create_environment(tmp_path / "venv", seed="--seed")
    build = ("--config-settings", f"build-dir={tmp_path / 'build'}")
    run(str(python), "-m", "pip", "install", "--quiet", *build, str(ROOT))
    check_program(python, digests)


def test_uv_builds_from_source_with_zig(tmp_path: Path, bare: None, digests: dict[str, str]) -> None:
    """uv sync of a copy of the checkout, as `make demo` does it."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("native", "src"):
        shutil.copytree(ROOT / name, copy / name)
    run(UV, "sync", "--quiet", "--no-default-groups", "--project", str(copy), "--python", sys.executable)
    check_program(copy / ".venv/bin/python", digests)


def test_the_arm64_wheel_runs_under_emulation(tmp_path: Path, digests: dict[str, str]) -> None:
    if tool := missing_tool():
        pytest.skip(f"{tool} is not installed (apt install qemu-user)")
    platform_name = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", VERSION)
    packages = tmp_path / "packages"
    install = (UV, "pip", "install", "--quiet", *platform_name, "--only-binary", ":all:", "--target", str(packages))
    run(*install, wheel("aarch64"))
    python = Arm64Python(unpack_python(tmp_path), packages)
    found = json.loads(python.run("-c", DIGESTS))
    assert {*found} == {"neon", "scalar"}
    assert {*found.values()} == {*digests.values()}
    assert python.run("-c", COMMAND, *STORY) == run(sys.executable, "-c", COMMAND, *STORY)
    # Not self-test: it compares with NumPy, whose products of float64 matrices are wrong under qemu 7.2.


def check_program(python: Path, digests: dict[str, str]) -> None:
    """The installed package has the digests, writes the story of this checkout, and passes its own test."""
    assert json.loads(run(str(python), "-c", DIGESTS)) == digests
    bitnet = str(python.with_name("bitnet-tt"))
    assert run(bitnet, *STORY) == run(sys.executable, "-c", COMMAND, *STORY)
    run(bitnet, "self-test")


def create_environment(folder: Path, python: str = sys.executable, seed: str = "--quiet") -> Path:
    """Create a virtual environment; return its Python."""
    run(UV, "venv", "--quiet", seed, "--no-project", "--python", python, str(folder))
    return folder / "bin/python"


def wheel(machine: str) -> str:
    """Return the path of the wheel that `make wheels` built for a machine."""
    wheels = sorted((ROOT / "dist").glob(f"bitnet_tt-*-cp312-abi3-*_{machine}.whl"))
    if not wheels:
        pytest.skip(f"dist has no wheel for {machine} (make wheels)")
    assert "manylinux_2_17_" in wheels[-1].name, "the module needs a newer glibc than the documentation says"
    return str(wheels[-1])


def run(*command: str) -> str:
    """Run a command that must succeed, outside of the checkout; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
