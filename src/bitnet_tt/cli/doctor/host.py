"""The machine: system, CPU, cores, memory and its speed."""

from __future__ import annotations

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
_BANDWIDTH_BYTES = 1 << 28


def check_host(root: Path) -> list[Check]:
    """All checks of the machine."""
    info = read(root / "proc/cpuinfo")
    cores = usable_cores(root)
    return [_system(root), _cpu(info), _cores(root, cores), _memory(root), _bandwidth(cores)]


def usable_cores(root: Path) -> int:
    """Physical cores that this process may use, as the CPU backend counts them."""
    try:
        from bitnet_tt.backends.cpu.host import physical_cores
    except ImportError:  # the native module is missing or broken, which check_software says
        return len(os.sched_getaffinity(0))
    return physical_cores(root)


def _system(root: Path) -> Check:
    release = dict(line.split("=", 1) for line in read(root / "etc/os-release").splitlines() if "=" in line)
    name = release.get("PRETTY_NAME", platform.system()).strip('"')
    library = " ".join(platform.libc_ver()) or "unknown C library"
    found = f"{name}, Linux {platform.release()}, {library}"
    if platform.system() != "Linux":
        return Check("System", "missing", platform.platform(), "use Linux; on Windows, WSL2", required=True)
    return Check("System", "ok", found)


def _cpu(info: str) -> Check:
    fields = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in info.splitlines())]
    first = dict(reversed(fields))
    model = first.get("model name") or first.get("CPU part") or platform.machine()
    flags = first.get("flags", first.get("Features", "")).split()
    found = f"{model}: {' '.join(name for name in _FEATURES if name in flags) or 'no vector extensions we use'}"
    if not {"avx2", "asimd"} & set(flags):
        return Check("CPU", "warn", found, "works, slowly; a CPU with AVX2 or NEON dot products is much faster")
    return Check("CPU", "ok", found)


def _cores(root: Path, available: int) -> Check:
    logical = os.cpu_count() or 1
    topologies = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology")
    places = {(read(place / "physical_package_id"), read(place / "core_id")) for place in topologies}
    physical = len(places) or logical
    found = f"{physical} physical, {logical} logical; {available} physical for this process"
    if available < physical:
        return Check("Cores", "warn", found, "this process's affinity or control group holds cores back")
    return Check("Cores", "ok", found)


def _memory(root: Path) -> Check:
    lines = (line.split() for line in read(root / "proc/meminfo").splitlines())
    sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1 and words[1].isdigit()}
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    found = f"{describe_bytes(total)}, {describe_bytes(available)} available"
    limit = read(root / "sys/fs/cgroup/memory.max")
    if limit.isdigit() and int(limit) < total:
        available = min(available, int(limit))
        found += f"; this process's control group may have {describe_bytes(int(limit))}"
    if available < 2e9:
        return Check("Memory", "warn", found, "bitnet-b1.58-2B-4T takes about 2 GB; close other programs")
    return Check("Memory", "ok", found)


def _bandwidth(cores: int) -> Check:
    speed = measure_bandwidth(cores, _BANDWIDTH_BYTES)
    found = (
        f"{speed / 1e9:.1f} GB/s or more (NumPy sums {describe_bytes(_BANDWIDTH_BYTES)}, {cores} threads, best of 4)"
    )
    return Check("Memory speed", "ok", found)


def measure_bandwidth(threads: int, size: int) -> float:
    """Bytes a second read from memory, as NumPy can: each thread sums its share of an array; the best of four runs."""
    import numpy as np

    parts = np.array_split(np.ones(size // 8, np.int64), threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(4):
            started = time.perf_counter()
            list(pool.map(np.add.reduce, parts))
            best = max(best, size / (time.perf_counter() - started))
    return best
