"""The C++ programs beside the Python module build and keep their promises.

The native test program prints the same digest on every architecture: NEON and AVX-VNNI give the bits that the other
instruction sets give, and no threads race. The benchmark of ternary products runs on every instruction set.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.backend import available_isas

ROOT = Path(__file__).parents[3]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

# A digest of all results of the test program's scalar table; the program compares the other tables with that one. It is
# the same on every architecture. If you change the program on purpose, run it on x86-64 as well (cmake
# -DBITNET_TESTS=ON) and put the new digest here.
DIGEST = "759eda5eb2229c6a"

SANITIZE = "-fsanitize=thread"


@pytest.mark.slow
def test_neon_equals_x86(tmp_path):
    for tool in (COMPILER, EMULATOR, "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install cmake g++-aarch64-linux-gnu qemu-user)")
    program = build_tests(
        tmp_path,
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR="aarch64",
        CMAKE_CXX_COMPILER=COMPILER,
        CMAKE_EXE_LINKER_FLAGS="-static",
    )
    assert run(EMULATOR, program).split() == ["ok", "digest", DIGEST, "neon", "scalar"]


@pytest.mark.slow
def test_avx_vnni_equals_the_others(tmp_path):
    """No emulator has AVX-VNNI. AVX-512 encodes the same instruction, so the test runs the source in that encoding."""
    require_cmake()
    if "avx512_vnni" not in available_isas():
        pytest.skip("this processor has no AVX-512 VNNI")
    program = build_tests(tmp_path, BITNET_AVX_VNNI_AS_AVX512="ON")
    result, digest_name, digest, *names = run(program).split()
    assert [result, digest_name, digest] == ["ok", "digest", DIGEST]
    assert {*names} == {*available_isas(), "avx_vnni"}


@pytest.fixture(scope="module")
def sanitizer(tmp_path_factory):
    """Return the flag of ThreadSanitizer, or nothing if the compiler has none."""
    folder = tmp_path_factory.mktemp("sanitizer")
    (folder / "empty.cpp").write_text("int main() {}")
    done = subprocess.run(["c++", SANITIZE, "empty.cpp"], cwd=folder, capture_output=True)
    return "" if done.returncode else SANITIZE


@pytest.fixture(scope="module")
def programs(tmp_path_factory, sanitizer):
    """Build both programs, with the sanitizer if there is one; return their folder.

    Their speed does not matter here, and MinSizeRel compiles in half the time.
    """
    require_cmake()
    options = {"CMAKE_BUILD_TYPE": "MinSizeRel", "CMAKE_CXX_COMPILER": "c++", "CMAKE_CXX_FLAGS": f"{sanitizer} -g"}
    return build(tmp_path_factory.mktemp("programs"), "native_test", "gemv", BITNET_BENCH="ON", **options)


@pytest.fixture(scope="module")
def gemv(programs):
    """Return the path of the benchmark of ternary products."""
    return programs / "gemv"


@pytest.mark.slow
def test_threads_never_race(programs, sanitizer):
    if not sanitizer:
        pytest.skip("the compiler has no ThreadSanitizer here (apt install libtsan2)")
    for _ in range(3):  # a race shows in some runs only
        assert run(programs / "native_test", "fastest").split()[0] == "ok"


@pytest.mark.slow
def test_benchmark_measures_every_instruction_set(gemv):
    """It prints a line for each instruction set, form of the weights, shape, kind of pages and offset."""
    shapes = [("64", "640"), ("36", "100")]
    sizes = [word for shape in shapes for word in shape]
    lines = run(gemv, "--megabytes", "1", "--rounds", "1", "2", *sizes).splitlines()
    forms = [(isa, "stored") for isa in available_isas() if isa != "scalar"]
    forms += [(isa, "dense") for isa in available_isas() if isa == "avx512_vbmi"]
    forms += [(isa, "grouped") for isa in available_isas() if isa != "scalar"]
    expected = [
        (isa, form, *shape, pages, offset)
        for isa, form in forms
        for shape in shapes
        for pages in ("4", "2")
        for offset in ("0", "33")
        if form != "grouped" or int(shape[1]) % 128 == 0
    ]
    measured = []
    for line in lines:
        isa, form, rows, times, columns, size, unit, pages, name, offset, *_ = line.split()
        assert (times, pages, name, unit) == ("x", "pages", "offset", {"4": "KB", "2": "MB"}[size])
        assert line.endswith(" %")
        measured.append((isa, form, rows, columns, size, offset))
    assert sorted(measured) == sorted(expected)


@pytest.mark.slow
def test_benchmark_explains_itself(gemv):
    assert run(gemv, "--help").startswith("Usage: gemv ")
    for arguments, message in {
        ("1", "64"): "a shape needs ROWS and COLUMNS",
        ("1", "6", "64"): "multiple of 4",
        ("--megabytes", "1", "1", "6912", "2560"): "raise --megabytes",
        ("--rounds",): "needs a number",
        ("--rounds", "0"): "whole number",
        ("--quick",): "whole number",
    }.items():
        done = subprocess.run([gemv, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr


def require_cmake() -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed (apt install cmake)")


def build_tests(folder: Path, **options: str) -> Path:
    """Build the native test program with these CMake options; return its path."""
    return build(folder, "native_test", **options) / "native_test"


def build(folder: Path, *targets: str, **options: str) -> Path:
    """Build programs with these CMake options, without the Python module; return the folder."""
    options |= {"BITNET_PYTHON": "OFF", "BITNET_TESTS": "ON"}
    run("cmake", "-S", ROOT, "-B", folder, *(f"-D{name}={value}" for name, value in options.items()))
    run("cmake", "--build", folder, "--parallel", "2", "--target", *targets)
    return folder


def run(*command: object) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
