"""Threads and memory stay within the affinity and the control groups of this process."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.host import (
    cgroup_memory_limit,
    machine_cores,
    memory_limit,
    memory_nodes,
    physical_cores,
)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def topology(cores: Iterable[int]) -> dict[str, str]:
    """Return the files of sysfs for logical processors 0, 1, ... on the given cores of package 0."""
    folder = "sys/devices/system/cpu/cpu{}/topology/"
    files = {}
    for cpu, core in enumerate(cores):
        files[folder.format(cpu) + "physical_package_id"] = "0"
        files[folder.format(cpu) + "core_id"] = str(core)
    return files


def test_hyperthreads_are_not_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    write(tmp_path, topology([0, 0, 1, 1]))
    assert physical_cores(tmp_path) == 2


def test_affinity_limits_the_cores_of_the_process_but_not_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4})
    write(tmp_path, topology([0, 0, 1, 1, 2, 2, 3, 3]))
    assert physical_cores(tmp_path) == 2
    assert machine_cores(tmp_path) == 4


def test_affinity_without_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 6})
    assert physical_cores(tmp_path) == 3
    assert machine_cores(tmp_path) == os.cpu_count()


def test_quota_of_a_parent_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    write(
        tmp_path,
        {
            **topology(range(8)),
            "proc/self/cgroup": "0::/pod/container",
            "sys/fs/cgroup/pod/cpu.max": "350000 100000",
            "sys/fs/cgroup/pod/container/cpu.max": "max 100000",
            "sys/fs/cgroup/pod/memory.max": "1000000",
            "sys/fs/cgroup/pod/container/memory.max": "max",
        },
    )
    assert physical_cores(tmp_path) == 3
    assert memory_limit(tmp_path) == 1000000


def test_version_1_groups_and_small_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    write(
        tmp_path,
        {
            **topology(range(8)),
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000",
        },
    )
    assert physical_cores(tmp_path) == 1
    assert memory_limit(tmp_path) == 2000000


def test_a_group_without_a_limit_leaves_the_memory_of_the_machine(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"})
    assert cgroup_memory_limit(tmp_path) is None
    assert memory_limit(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def nodes(*processors: str, has_memory: str) -> dict[str, str]:
    """Return the files of sysfs for nodes of memory, each near the processors of a list such as `0-3,8`."""
    folder = "sys/devices/system/node/"
    lists = {f"{folder}node{node}/cpulist": text for node, text in enumerate(processors)}
    return {f"{folder}has_memory": has_memory, **lists}


@pytest.mark.parametrize(
    ("affinity", "allowed", "expected"),
    [
        (range(16), "0-3", [0, 1, 2]),
        (range(4, 12), "0-3", [1, 2]),
        (range(4), "0-3", [0]),
        (range(16), "0,2", [0, 2]),
        ([0, 13], "0-3", [0]),
    ],
)
def test_memory_nodes_are_near_the_usable_processors(
    affinity: Iterable[int], allowed: str, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four nodes, the last has no memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(affinity))
    files = nodes("0-3", "4-7", "8-9,10-11", "12-15", has_memory="0-2")
    write(tmp_path, {**files, "proc/self/status": f"Cpus_allowed_list:\t0-15\nMems_allowed_list:\t{allowed}"})
    assert memory_nodes(tmp_path) == expected


def test_a_system_that_shows_no_nodes_has_none(tmp_path: Path) -> None:
    assert memory_nodes(tmp_path) == []


def test_this_machine() -> None:
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))
    assert physical_cores() <= machine_cores()
    assert memory_limit() > 1 << 28
    assert memory_nodes() == [] or 0 <= min(memory_nodes()) <= max(memory_nodes()) < 64
