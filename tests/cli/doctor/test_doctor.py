"""`bitnet-tt doctor`, here and on made-up machines."""

import json
import os
from pathlib import Path

import pytest

from bitnet_tt.cli.doctor import host, software
from tests.cli.machines import by_name, make


@pytest.fixture(autouse=True)
def small_bandwidth_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_BANDWIDTH_BYTES", 1 << 20)


def test_this_machine_runs_models(run) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "Models run on this machine's CPU." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_has_a_remedy_for_everything_that_is_not_well(run) -> None:
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


def test_what_the_kernel_says_of_the_machine(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        {
            "proc/cpuinfo": "processor: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu avx2 fma\n\nprocessor: 1\n",
            "proc/meminfo": "MemTotal:  4000000 kB\nMemAvailable: 1000000 kB\nHugePages_Total: 0\n",
            "sys/fs/cgroup/memory.max": "500000000\n",
            **{f"sys/devices/system/cpu/cpu{cpu}/topology/core_id": f"{cpu // 2}\n" for cpu in range(64)},
        },
    )
    checks = by_name(host.check_host(root))
    assert checks["CPU"].found == "Fast CPU: avx2 fma"
    assert checks["Memory"].status == "warn"
    assert checks["Memory"].found == "4.1 GB, 1.02 GB available; this process's control group may have 500 MB"
    assert checks["Cores"].found.startswith(f"32 physical, {os.cpu_count()} logical; ")
