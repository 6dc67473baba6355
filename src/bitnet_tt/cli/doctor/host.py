"""Checks of the machine: system, CPU, cores, memory and its read bandwidth."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from bitnet_tt.backends.cpu.host import cgroup_memory_limit, machine_cores, memory_limit, physical_cores
from bitnet_tt.cli.doctor.check import Check, read
from bitnet_tt.cli.output import describe_bytes

_FEATURES = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512vbmi",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
)

BANDWIDTH_BYTES = 1 << 28
"""Bytes that each pass of the bandwidth check reads, unless they are more than a quarter of the memory."""

_BANDWIDTH_PASSES = 4
_ENOUGH_MEMORY = 1e9  # 2B4T peaks at 0.9 GB with two threads, see docs/benchmarks.md


def check_host(root: Path) -> list[Check]:
    """Return all checks of the machine whose file system begins at `root`."""
    cores = physical_cores(root)
    return [_system(root), _cpu(root), _cores(root, cores), _memory(root), _bandwidth(root, cores)]


def _system(root: Path) -> Check:
    release = dict(line.split("=", 1) for line in read(root / "etc/os-release").splitlines() if "=" in line)
    name = release.get("PRETTY_NAME", platform.system()).strip('"')
    library = " ".join(platform.libc_ver()) or "unknown C library"
    found = f"{name}, Linux {platform.release()}, {library}"
    if platform.system() != "Linux":
        return Check("System", "missing", platform.platform(), "use Linux; on Windows, use WSL2", required=True)
    return Check("System", "ok", found)


def _cpu(root: Path) -> Check:
    lines = (line.partition(":") for line in read(root / "proc/cpuinfo").splitlines())
    fields = [(key.strip(), value.strip()) for key, _, value in lines]
    first = dict(reversed(fields))  # of several processors, the fields of the first one
    model = first.get("model name") or first.get("CPU part") or platform.machine()
    flags = first.get("flags", first.get("Features", "")).split()
    found = f"{model}: {' '.join(name for name in _FEATURES if name in flags) or 'no vector extensions that we use'}"
    if not {"avx2", "asimddp"} & set(flags):
        return Check("CPU", "warn", found, "works, but slowly; a CPU with AVX2 or NEON dot products is much faster")
    return Check("CPU", "ok", found)


def _cores(root: Path, usable: int) -> Check:
    physical = machine_cores(root)
    found = f"{physical} physical, {os.cpu_count() or 1} logical; {usable} physical for this process"
    if usable < physical:
        return Check("Cores", "warn", found, "the affinity or control group of this process excludes some cores")
    return Check("Cores", "ok", found)


def _memory(root: Path) -> Check:
    lines = (line.split() for line in read(root / "proc/meminfo").splitlines())
    sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1 and words[1].isdigit()}
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    found = f"{describe_bytes(total)}, {describe_bytes(available)} available"
    limit = cgroup_memory_limit(root)
    if limit is not None and limit < total:
        available = min(available, limit)
        found += f"; this process's control group may have {describe_bytes(limit)}"
    if available < _ENOUGH_MEMORY:
        return Check("Memory", "warn", found, "bitnet-b1.58-2B-4T takes about 0.9 GB; close other programs")
    return Check("Memory", "ok", found)


def _bandwidth(root: Path, cores: int) -> Check:
    try:
        from bitnet_tt import _native
    except ImportError:  # the native module is missing or broken
        return Check("Memory speed", "warn", "unknown", "repair the CPU backend, which measures it (see below)")
    size = min(BANDWIDTH_BYTES, memory_limit(root) // 4)
    speed = max(_native.measure_read_bandwidth(cores, size, passes=_BANDWIDTH_PASSES))
    how = f"{describe_bytes(size)}, {cores} thread{'s' * (cores > 1)}, best of {_BANDWIDTH_PASSES}"
    found = f"{speed / 1e9:.1f} GB/s or more (read {how})"
    return Check("Memory speed", "ok", found)
