"""`bitnet-tt doctor`, here and on made-up machines."""

import json
import os
from pathlib import Path

import pytest

from bitnet_tt.cli.checks import Check, host, software, tenstorrent


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


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


def test_a_machine_with_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(
        tmp_path,
        {
            "dev/tenstorrent/0": "",
            "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1e52\n",
            "sys/bus/pci/devices/0000:01:00.0/device": "0xb140\n",
            "sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
            "sys/module/tenstorrent/version": "2.4.1\n",
            "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "4\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
            "opt/tenstorrent/sfpi/compiler": "",
        },
    )
    monkeypatch.setenv("TT_METAL_SIMULATOR", str(tmp_path))
    checks = by_name(tenstorrent.check_tenstorrent(root))
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["Tenstorrent card"].found == "Blackhole; devices 0"
    assert checks["Driver"].found == "tt-kmd 2.4.1"
    assert checks["Huge pages"].found == "4 of 1048576kB; transparent: madvise"


def test_a_card_without_driver_and_a_simulator_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, {"sys/bus/pci/devices/1/vendor": "0x1e52", "sys/bus/pci/devices/1/device": "0x401e"})
    monkeypatch.setenv("TT_METAL_SIMULATOR", str(tmp_path / "gone"))
    checks = by_name(tenstorrent.check_tenstorrent(root))
    assert checks["Tenstorrent card"].found == "Wormhole on the PCI bus, no device"
    assert checks["Simulator"].status == "warn"


def test_a_machine_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TT_METAL_SIMULATOR", raising=False)
    assert {check.status for check in tenstorrent.check_tenstorrent(tmp_path)} == {"missing"}
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
