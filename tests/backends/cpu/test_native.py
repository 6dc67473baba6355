"""The native test program: kernels and whole steps, here and, in an emulator, on the other architecture."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CROSS = ("aarch64-linux-gnu-g++", "qemu-aarch64")


def run_test_program(folder: Path, *options: str, emulator: str | None = None) -> list[str]:
    """Build and run it; return the words it prints: `ok digest DIGEST TABLE...`."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DBITNET_PYTHON=OFF", "-DBITNET_TESTS=ON", *options]
    for command in (configure, ["cmake", "--build", folder, "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    program = [*([emulator] if emulator else []), str(folder / "native_test")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_neon_equals_this_machine(tmp_path):
    for tool in CROSS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install g++-aarch64-linux-gnu qemu-user)")
    cross = run_test_program(
        tmp_path / "aarch64",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS[0]}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
        emulator=CROSS[1],
    )
    assert cross[:2] == ["ok", "digest"]
    assert cross[3:] == ["neon", "scalar"]
    here = run_test_program(tmp_path / platform.machine())
    assert here[:3] == cross[:3], "results differ between architectures"
