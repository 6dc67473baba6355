"""The native test program: NEON and AVX-VNNI give the bits that other instruction sets give; no threads race."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.backend import available_isas

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
    program = build(
        tmp_path,
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR="aarch64",
        CMAKE_CXX_COMPILER=COMPILER,
        CMAKE_EXE_LINKER_FLAGS="-static",
    )
    assert run(EMULATOR, program).split() == ["ok", "digest", DIGEST, "neon", "scalar"]


@pytest.mark.slow
def test_avx_vnni_equals_the_others(tmp_path):
    """No emulator has AVX-VNNI; AVX-512 encodes the same instruction, so the same source is run in that encoding."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed (apt install cmake)")
    if "avx512_vnni" not in available_isas():
        pytest.skip("this processor has no AVX-512 VNNI")
    program = build(tmp_path, BITNET_AVX_VNNI_AS_AVX512="ON")
    result, *names = run(program).rsplit(maxsplit=len(available_isas()) + 1)
    assert result.split() == ["ok", "digest", DIGEST]
    assert {*names} == {*available_isas(), "avx_vnni"}


@pytest.mark.slow
def test_threads_never_race(tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed (apt install cmake)")
    sanitize = "-fsanitize=thread"
    (tmp_path / "empty.cpp").write_text("int main() {}")
    if subprocess.run(["c++", sanitize, "empty.cpp"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("the compiler has no ThreadSanitizer here (apt install libtsan2)")
    program = build(tmp_path / "build", CMAKE_CXX_COMPILER="c++", CMAKE_CXX_FLAGS=f"{sanitize} -g")
    for _ in range(5):  # a race shows in some runs only
        assert run(program).split()[:3] == ["ok", "digest", DIGEST]


def build(folder: Path, **options: str) -> Path:
    options |= {"BITNET_PYTHON": "OFF", "BITNET_TESTS": "ON"}
    run("cmake", "-S", ROOT, "-B", folder, *(f"-D{name}={value}" for name, value in options.items()))
    run("cmake", "--build", folder, "--parallel", "2")
    return folder / "native_test"


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
