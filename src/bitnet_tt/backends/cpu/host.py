"""What this process may use of the machine: physical cores and memory, within affinity and control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def physical_cores(root: Path = _ROOT) -> int:
    """Physical cores among the processors this process may run on, and no more than its cgroup's quota; at least 1.

    Two threads of one core share its multipliers and caches: a second thread there slows the first.
    """
    cores = set()
    for cpu in os.sched_getaffinity(0):
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        package, core = _read(topology / "physical_package_id"), _read(topology / "core_id")
        cores.add((package, core) if package and core else cpu)
    quota = _cpu_quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def memory_limit(root: Path = _ROOT) -> int:
    """Bytes of memory this process may have at most: the machine's, or its cgroup's limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():
                limits.append(int(text))
    return min(limits)


def _cpu_quota(root: Path) -> float | None:
    """Processors' worth of time the cgroups grant, or None without a limit."""
    quotas = []
    for folder in _cgroups(root, "cpu"):
        fields = _read(folder / "cpu.max").split() or [  # version 2, else version 1
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit() and int(fields[1]) > 0:
            quotas.append(int(fields[0]) / int(fields[1]))
    return min(quotas, default=None)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's cgroup and of all above it, existing or not: in a container only the top one may be."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mount / controller if controllers else mount
        folder = top / path.strip("/")
        while folder != top:
            yield folder
            folder = folder.parent
        yield top


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
