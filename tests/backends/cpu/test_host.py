"""Threads and memory: what affinity and control groups leave to this process."""

import os

from bitnet_tt.backends.cpu.host import memory_limit, physical_cores


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def topology(cores):
    """sysfs files of cpus 0..n on the given cores of package 0."""
    folder = "sys/devices/system/cpu/cpu{}/topology/"
    files = {}
    for cpu, core in enumerate(cores):
        files[folder.format(cpu) + "physical_package_id"] = "0"
        files[folder.format(cpu) + "core_id"] = str(core)
    return files


def test_hyperthreads_are_not_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    write(tmp_path, topology([0, 0, 1, 1]))
    assert physical_cores(tmp_path) == 2


def test_affinity_without_topology(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 6})
    assert physical_cores(tmp_path) == 3


def test_quota_of_a_parent_group(tmp_path, monkeypatch):
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


def test_version_1_groups_and_small_quota(tmp_path, monkeypatch):
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


def test_this_machine():
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))
    assert memory_limit() > 1 << 28
