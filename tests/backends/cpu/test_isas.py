"""The CPU backend finds the instruction sets of this machine, whatever compiler built it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.backend import available_isas

AVX512 = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
NEEDS = {
    "avx512_vbmi": AVX512 | {"avx512vbmi"},
    "avx512_vnni": AVX512,
    "avx_vnni": {"avx2", "fma", "avx_vnni"},
    "avx2": {"avx2", "fma"},
    "neon": {"asimddp"},
    "scalar": set(),
}


def test_instruction_sets_are_those_that_linux_names() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.split(":")[1].split() for line in lines if line.startswith(("flags", "Features"))), None)
    if flags is None:
        pytest.skip("/proc/cpuinfo names no instruction sets")
    other = {"neon"} if platform.machine() == "x86_64" else {*NEEDS} - {"neon", "scalar"}
    assert available_isas() == [isa for isa, needs in NEEDS.items() if isa not in other and needs <= {*flags}]
