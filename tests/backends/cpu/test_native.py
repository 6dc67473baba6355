"""The native test program under an emulator: NEON gives the bits that x86-64 gives, in kernels and in whole steps."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

# Of all results of the program's scalar table; the program checks the other tables against that. The same on every
# architecture: change it only with the program, after running that on x86-64 too (cmake -DBITNET_TESTS=ON).
DIGEST = "2397432ba6dd74ea"


@pytest.mark.slow
def test_neon_equals_x86(tmp_path):
    for tool in (COMPILER, EMULATOR, "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install cmake g++-aarch64-linux-gnu qemu-user)")
    options = {
        "BITNET_PYTHON": "OFF",
        "BITNET_TESTS": "ON",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": COMPILER,
        "CMAKE_EXE_LINKER_FLAGS": "-static",
    }
    run("cmake", "-S", ROOT, "-B", tmp_path, *(f"-D{name}={value}" for name, value in options.items()))
    run("cmake", "--build", tmp_path, "--parallel", "2")
    assert run(EMULATOR, tmp_path / "native_test").split() == ["ok", "digest", DIGEST, "neon", "scalar"]


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
