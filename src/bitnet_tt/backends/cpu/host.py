"""The physical cores and the memory that this process may use, within its affinity and its control groups (cgroups).

Every function takes the root of the file system as an argument, so that tests can use a folder in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path("/")


def physical_cores(root: Path = _ROOT) -> int:
    """Return how many physical cores this process may use: those of its affinity, at most its CPU quota, at least 1.

    Two hardware threads of one core share its multipliers and caches: a second thread there slows the first.
    """
    cores = _count_cores(root, os.sched_getaffinity(0))
    quota = _cpu_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota)))


def machine_cores(root: Path = _ROOT) -> int:
    """Return how many physical cores the machine has, whether or not this process may use them."""
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology")
    processors = [int(folder.parent.name.removeprefix("cpu")) for folder in folders]
    return _count_cores(root, processors) or os.cpu_count() or 1


def memory_nodes(root: Path = _ROOT) -> list[int]:
    """Return the nodes of memory (NUMA nodes) that are near the processors of this process's affinity.

    Nodes without memory, those that its control group does not allow, and those from 64 on are left out.
    """
    processors = os.sched_getaffinity(0)
    status = _read(root / "proc/self/status").splitlines()
    allowed = [line.partition(":")[2] for line in status if line.startswith("Mems_allowed_list:")]
    folder = root / "sys/devices/system/node"
    usable = _numbers(_read(folder / "has_memory")).intersection(*map(_numbers, allowed))
    return sorted(
        node for node in usable & {*range(64)} if processors & _numbers(_read(folder / f"node{node}/cpulist"))
    )


def memory_limit(root: Path = _ROOT) -> int:
    """Return the bytes of memory that this process may use: those of the machine, at most the limit of its cgroup."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = cgroup_memory_limit(root)
    return machine if limit is None else min(machine, limit)


def cgroup_memory_limit(root: Path = _ROOT) -> int | None:
    """Return the lowest memory limit, in bytes, of this process's cgroup and those above it; None without a limit."""
    limits = []
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # cgroup version 2, version 1
            text = _read(folder / name)
            if text.isdigit():
                limits.append(int(text))
    return min(limits, default=None)


def _count_cores(root: Path, processors: Iterable[int]) -> int:
    """Count the physical cores of logical processors. A processor without a known core counts as one."""
    cores: set[tuple[str, str] | int] = set()
    for processor in processors:
        topology = root / f"sys/devices/system/cpu/cpu{processor}/topology"
        core = _read(topology / "core_id")
        cores.add((_read(topology / "physical_package_id"), core) if core else processor)
    return len(cores)


def _numbers(text: str) -> set[int]:
    """Return the numbers of a list such as `0-3,8`."""
    ranges = [part.partition("-") for part in text.strip().split(",") if part.strip()]
    return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}


def _cpu_quota(root: Path) -> float | None:
    """Return the processor time per second that the cgroups grant; None without a limit."""
    quotas = []
    for folder in _cgroups(root, "cpu"):
        fields = _read(folder / "cpu.max").split() or [  # cgroup version 2, version 1
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit() and int(fields[1]) > 0:
            quotas.append(int(fields[0]) / int(fields[1]))
    return min(quotas, default=None)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of all cgroups above it.

    A folder may not exist: a container may see only the top one.
    """
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
    """Return the text of a small system file, or an empty text if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
