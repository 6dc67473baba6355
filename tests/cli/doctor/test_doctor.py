"""`bitnet-tt doctor` reports this machine and fake machines correctly, and says how to repair each fault."""

import json
import os
import sys
from pathlib import Path

import pytest

import bitnet_tt
from bitnet_tt.cli.doctor import host, software
from tests.cli.machines import by_name, make

MEMORY = "MemTotal:  4000000 kB\nMemAvailable: 1000000 kB\nHugePages_Total: 0\n"


@pytest.fixture(autouse=True)
def quick_bandwidth_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "BANDWIDTH_BYTES", 1 << 20)


def test_this_machine_runs_models(run) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "Models run on this machine's CPU." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_has_a_remedy_for_every_fault(run) -> None:
    report = json.loads(run("doctor", "--json").stdout)
    assert report["cpu_runs"] is True
    assert {check["status"] for check in report["checks"]} <= {"ok", "warn", "missing"}
    assert all(check["remedy"] for check in report["checks"] if check["status"] != "ok")


def test_a_broken_native_module_is_exit_code_1(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(software.importlib, "import_module", broken)
    result = run("doctor")
    assert result.exit_code == 1
    assert "undefined symbol" in result.stdout
    assert "Models cannot run on this machine's CPU." in result.stdout


def test_a_machine_without_anything(tmp_path: Path) -> None:
    assert by_name(host.check_host(tmp_path))["CPU"].status == "warn"


def test_the_kernels_files_are_read(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "proc/cpuinfo": "processor: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu avx2 fma\n\nprocessor: 1\n",
            "proc/meminfo": MEMORY,
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "500000000\n",
            **{f"sys/devices/system/cpu/cpu{cpu}/topology/core_id": f"{cpu // 2}\n" for cpu in range(64)},
        },
    )
    checks = by_name(host.check_host(root))
    assert checks["CPU"].found == "Fast CPU: avx2 fma"
    assert checks["Memory"].status == "warn"
    assert checks["Memory"].found == "4.1 GB, 1.02 GB available; this process's control group may have 500 MB"
    assert checks["Cores"].found.startswith(f"32 physical, {os.cpu_count()} logical; ")


@pytest.mark.parametrize(("features", "status"), [("fp asimd", "warn"), ("fp asimd asimddp", "ok")])
def test_neon_without_dot_products_is_slow(tmp_path: Path, features: str, status: str) -> None:
    root = make(tmp_path, {"proc/cpuinfo": f"processor: 0\nCPU part\t: 0xd08\nFeatures\t: {features}\n"})
    assert by_name(host.check_host(root))["CPU"].status == status


@pytest.mark.parametrize(
    ("line", "folder"),
    [("0::/pod/container", "pod/container/memory.max"), ("4:memory:/a", "memory/a/memory.limit_in_bytes")],
)
def test_the_limit_of_a_nested_control_group_is_found(tmp_path: Path, line: str, folder: str) -> None:
    files = {"proc/self/cgroup": line, f"sys/fs/cgroup/{folder}": "500000000", "proc/meminfo": MEMORY}
    check = by_name(host.check_host(make(tmp_path, files)))["Memory"]
    assert check.found.endswith("this process's control group may have 500 MB")


@pytest.mark.parametrize(("available", "status"), [(990_000, "ok"), (970_000, "warn")])
def test_memory_is_enough_for_2b4t(tmp_path: Path, available: int, status: str) -> None:
    root = make(tmp_path, {"proc/meminfo": f"MemTotal: 4000000 kB\nMemAvailable: {available} kB\n"})
    check = by_name(host.check_host(root))["Memory"]
    assert check.status == status
    assert ("takes about 0.9 GB" in check.remedy) is (status == "warn")


def test_without_the_native_module_the_memory_speed_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitnet_tt._native", None)
    monkeypatch.delattr(bitnet_tt, "_native", raising=False)
    check = by_name(host.check_host(tmp_path))["Memory speed"]
    assert (check.status, check.found) == ("warn", "unknown")
    assert "CPU backend" in check.remedy
