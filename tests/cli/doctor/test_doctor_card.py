"""`bitnet-tt doctor` finds each fault of a Tenstorrent card and its software on fake machines, with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.tt.device import telemetry
from bitnet_tt.backends.tt.device.telemetry import parse_snapshot
from bitnet_tt.cli.doctor import toolchain
from bitnet_tt.cli.doctor.check import Check
from bitnet_tt.cli.doctor.telemetry import check_telemetry, describe, find_remedy
from bitnet_tt.cli.doctor.tenstorrent import check_tenstorrent
from tests.cli.machines import by_name, make, program

SFPI = "opt/tenstorrent/sfpi/compiler/bin/riscv-tt-elf-g++"
CARD = {
    "dev/tenstorrent/0": "",
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1e52\n",
    "sys/bus/pci/devices/0000:01:00.0/device": "0xb140\n",
    "sys/bus/pci/devices/0000:01:00.0/iommu_group/type": "identity\n",
    "sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
    "sys/module/tenstorrent/version": "2.4.1\n",
    "sys/class/tenstorrent/tenstorrent!0/tt_fw_bundle_ver": "19.4.1.0\n",
    "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "4\n",
}

# The fields that we read, as tt-smi 6 prints them, and some others.
SNAPSHOT: dict[str, Any] = {
    "time": "2026-08-10T16:08:28.419000",
    "host_info": {"OS": "Linux", "Driver": "TT-KMD 2.4.1"},
    "device_info": [
        {
            "smbus_telem": {"AICLK": "0x320", "INPUT_POWER": None},
            "board_info": {"bus_id": "0000:01:00.0", "board_type": "p150a", "dram_status": True, "dram_speed": "16G"},
            "telemetry": {
                "voltage": "0.74",
                "current": " 48.0",
                "power": " 37.0",
                "board_power": "N/A",
                "aiclk": " 800",
                "asic_temperature": "56.8",
                "fan_speed": "1900",
                "heartbeat": "1234",
            },
            "firmwares": {"fw_bundle_version": "19.4.1.0"},
            "limits": {
                "vdd_min": "0.70",
                "vdd_max": "0.90",
                "tdp_limit": "150",
                "tdc_limit": "200",
                "asic_fmax": "1350",
                "therm_trip_l1_limit": "90",
                "thm_limit": "110",
                "bus_peak_limit": 0,
                "board_power_limit": 0,
            },
        }
    ],
    "processes": [],
}


@pytest.fixture
def tt_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Check]:
    """Return a function that checks the telemetry with a shell script in place of tt-smi."""
    monkeypatch.setattr(telemetry, "TIMEOUT_SECONDS", 2)

    def ask(script: str) -> Check:
        program(tmp_path / "bin/tt-smi", script)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        return check_telemetry(None)

    return ask


def snapshot(tmp_path: Path, data: object) -> str:
    """Return a script that prints a log line and then JSON."""
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps(data))
    return f"echo Detecting devices; cat {path}"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TT_METAL_SIMULATOR", raising=False)
    monkeypatch.delenv("TT_METAL_RUNTIME_ROOT", raising=False)
    monkeypatch.delenv("TT_MESH_GRAPH_DESC_PATH", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def test_a_complete_machine(tmp_path: Path, tt_smi: Callable[[str], Check], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, CARD)
    wheel = make(tmp_path / "ttnn", {"tt_metal/sfpi-version": "sfpi_repo='https://x'\nsfpi_version='7.89.0'\n"})
    program(root / SFPI, "echo 'riscv-tt-elf-g++ (tenstorrent/sfpi:7.89.0) 15.1.0'")
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: Spec(wheel))
    monkeypatch.setattr(toolchain, "version", lambda _: "0.81.1")
    monkeypatch.setenv("TT_METAL_SIMULATOR", str(tmp_path))
    tt_smi(snapshot(tmp_path, SNAPSHOT))
    checks = by_name(check_tenstorrent(root))
    assert [check for check in checks.values() if check.status != "ok"] == []
    assert checks["Tenstorrent card"].found == "Blackhole; devices 0"
    assert checks["Driver"].found == "tt-kmd 2.4.1"
    assert checks["Huge pages"].found == "4 of 1048576kB"
    assert checks["Firmware"].found == "device 0: 19.4.1.0"
    assert checks["Telemetry"].found == "p150a: chip 37 W, board n/a, temperature 56.8 °C, clock 800 MHz"
    assert checks["SFPI"].found.startswith("7.89.0 in ")


class Spec:
    """The location of a package, as importlib finds it."""

    def __init__(self, folder: Path) -> None:
        self.submodule_search_locations = [str(folder)]


def test_a_machine_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: None)
    checks = check_tenstorrent(tmp_path)
    assert {check.name: check.status for check in checks if check.status != "missing"} == {"Shared memory": "ok"}
    assert all(check.remedy for check in checks if check.status == "missing")


def test_a_card_without_a_driver_and_a_missing_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, {"sys/bus/pci/devices/1/vendor": "0x1e52", "sys/bus/pci/devices/1/device": "0x401e"})
    monkeypatch.setenv("TT_METAL_SIMULATOR", str(tmp_path / "gone"))
    checks = by_name(check_tenstorrent(root))
    assert checks["Tenstorrent card"].found == "Wormhole on the PCI bus, no device"
    assert checks["Simulator"].status == "warn"


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("Driver", {"sys/module/tenstorrent/version": "1.34\n"}, "warn"),
        ("Driver", {"sys/module/tenstorrent/version": "2.0.0\n"}, "ok"),
        ("Firmware", {"sys/class/tenstorrent/tenstorrent!0/tt_fw_bundle_ver": "18.9.0.0\n"}, "warn"),
        ("Firmware", {"sys/class/tenstorrent/tenstorrent!0/tt_fw_bundle_ver": "18.10.0.0\n"}, "ok"),
        ("Firmware", {"sys/class/tenstorrent/tenstorrent!0/tt_fw_bundle_ver": "80.15.0.0\n"}, "warn"),
        ("Firmware", {"sys/class/tenstorrent/tenstorrent!1/dev": "241:1\n"}, "warn"),
        ("Huge pages", {"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n"}, "missing"),
        ("Huge pages", {"sys/bus/pci/devices/0000:01:00.0/iommu_group/type": "DMA-FQ\n"}, "ok"),
    ],
)
def test_old_and_missing_parts_have_a_remedy(tmp_path: Path, name: str, change: dict[str, str], status: str) -> None:
    check = by_name(check_tenstorrent(make(tmp_path, CARD | change)))[name]
    assert check.status == status
    assert bool(check.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("script", "status", "found"),
    [
        ("echo 'riscv-tt-elf-g++ (tenstorrent/sfpi:7.88.0) 15.1.0'", "warn", "7.88.0"),
        ("echo 'g++ 12'", "warn", "of unknown version"),
        ("exec sleep 60", "warn", "of unknown version"),
        (None, "missing", "no compiler"),
    ],
)
def test_a_compiler_of_another_version_than_ttnn_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, status: str, found: str
) -> None:
    wheel = make(tmp_path / "ttnn", {"tt_metal/sfpi-version": "sfpi_repo='https://a.b/sfpi'\nsfpi_version='7.89.0'\n"})
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: Spec(wheel))
    monkeypatch.setattr(toolchain, "TIMEOUT_SECONDS", 1)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if script:
        program(tmp_path / SFPI, script)
    check = by_name(toolchain.check_toolchain(tmp_path))["SFPI"]
    assert check.status == status
    assert found in check.found
    assert "SFPI 7.89.0 from https://a.b/sfpi/releases/tag/7.89.0" in check.remedy


def test_another_ttnn_than_the_pinned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: Spec(tmp_path))
    monkeypatch.setattr(toolchain, "version", lambda _: "0.60.0")
    check = by_name(toolchain.check_toolchain(tmp_path))["ttnn"]
    assert (check.status, check.found) == ("warn", "0.60.0")
    assert "uv sync --extra tt" in check.remedy


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo Detecting; echo '{\"device_info\": [{'", "cannot be read"),
        ("echo no JSON at all", "cannot be read"),
        ("echo '{\"devices\": []}'", "no device_info"),
        ("echo '{\"device_info\": []}'", "sees no card"),
        ("exec sleep 60", "did not answer in 2 s"),
        ("echo 'No Tenstorrent devices detected!'; exit 1", "No Tenstorrent devices detected!"),
        ("exit 3", "it prints nothing"),
    ],
)
def test_a_failing_tt_smi(tt_smi: Callable[[str], Check], script: str, found: str) -> None:
    check = tt_smi(script)
    assert check.status == "warn"
    assert found in check.found
    assert check.remedy


def test_a_missing_tt_smi_and_one_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_telemetry(None).status == "missing"
    make(tmp_path, {"tt-smi": "#!/nowhere/python\n"})
    (tmp_path / "tt-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_telemetry(None)
    assert check.status == "warn"
    assert "does not start" in check.found


def test_a_faulty_card_is_reported(tmp_path: Path, tt_smi: Callable[[str], Check]) -> None:
    untrained = changed("board_info", dram_status=False)
    check = tt_smi(snapshot(tmp_path, untrained))
    assert (check.status, "DRAM" in check.remedy) == ("warn", True)
    hot = changed("telemetry", asic_temperature="93.5", board_power="212.0")
    check = tt_smi(snapshot(tmp_path, hot))
    assert "board 212 W, temperature 93.5 °C" in check.found
    assert (check.status, "90 °C" in check.remedy) == ("warn", True)


def test_what_tt_smi_does_not_know_is_none() -> None:
    (chip,) = parse_snapshot(json.dumps(SNAPSHOT)).chips
    assert (chip.chip_watts, chip.board_watts, chip.megahertz) == (37, None, 800)
    assert (chip.tdp_limit_watts, chip.board_limit_watts, chip.firmware) == (150, None, "19.4.1.0")
    (newer,) = parse_snapshot(json.dumps(changed("telemetry", board_power=" 61.0"))).chips
    assert newer.board_watts == 61
    (limited,) = parse_snapshot(json.dumps(changed("limits", board_power_limit="300"))).chips
    assert limited.board_limit_watts == 300


def test_a_low_clock_is_a_fault_only_at_work(tmp_path: Path, tt_smi: Callable[[str], Check]) -> None:
    ours = {"pid": 7, "user": "me", "device": 0, "cmdline": "python bitnet-tt serve"}
    own = ours | {"cmdline": "python tt-smi -s"}
    assert tt_smi(snapshot(tmp_path, SNAPSHOT | {"processes": [own]})).status == "ok"
    slow = tt_smi(snapshot(tmp_path, SNAPSHOT | {"processes": [own, ours]}))
    assert (slow.status, "stays at 800 MHz" in slow.remedy) == ("warn", True)
    fast = changed("telemetry", aiclk="1350") | {"processes": [ours]}
    assert tt_smi(snapshot(tmp_path, fast)).status == "ok"


def test_half_a_p300_needs_a_mesh_graph(
    tmp_path: Path, tt_smi: Callable[[str], Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    half = changed("board_info", board_type="p300c")
    check = tt_smi(snapshot(tmp_path, half))
    assert check.status == "warn"
    assert "TT_MESH_GRAPH_DESC_PATH=" in check.remedy
    assert tt_smi(snapshot(tmp_path, half | {"device_info": half["device_info"] * 2})).status == "ok"
    monkeypatch.setenv("TT_MESH_GRAPH_DESC_PATH", "p150.textproto")
    assert tt_smi(snapshot(tmp_path, half)).status == "ok"


@pytest.mark.parametrize(
    ("name", "maps", "stale"),
    [
        ("tt_device_1_memory", "", True),
        ("tt_device_1_memory", "7f00-7f01 rw-s 00000000 00:1b 3816     /dev/shm/tt_device_1_memory", False),
        ("tt_device_1_memory", "7f00-7f01 rw-s 00000000 00:1b 3816     /dev/shm/tt_device_1_memory2", True),
        ("TT_UMD_LOCK.ARC_MSG_2272_PCIe", "", False),  # 71 * 32: that process runs
        ("TT_UMD_LOCK.ARC_MSG_2304_PCIe", "", True),
        ("TT_UMD_LOCK.ARC_MSG_0_PCIe", "", False),  # a card's
    ],
)
def test_files_of_killed_programs_are_found(tmp_path: Path, name: str, maps: str, stale: bool) -> None:
    root = make(tmp_path, CARD | {f"dev/shm/{name}": "", "proc/71/maps": f"{maps}\n"})
    check = by_name(check_tenstorrent(root))["Shared memory"]
    assert check.status == ("warn" if stale else "ok")
    assert (f"/dev/shm/{name}" in check.found) == stale
    assert ("rm -f" in check.remedy) == stale


def test_huge_pages_name_the_unit_that_is_installed(tmp_path: Path) -> None:
    root = make(tmp_path, CARD | {"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n"})
    assert "tt-installer" in by_name(check_tenstorrent(root))["Huge pages"].remedy
    make(root, {"usr/lib/systemd/system/tenstorrent-hugepages.service": "[Unit]\n"})
    assert (
        "systemctl enable --now tenstorrent-hugepages.service" in by_name(check_tenstorrent(root))["Huge pages"].remedy
    )


def changed(section: str, **fields: object) -> dict[str, Any]:
    device = SNAPSHOT["device_info"][0]
    return SNAPSHOT | {"device_info": [device | {section: device[section] | fields}]}


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
sections = st.sampled_from(["board_info", "telemetry", "limits"])


@given(st.dictionaries(sections, values | st.dictionaries(st.sampled_from(["power", "dram_status"]), values)), values)
def test_any_snapshot_is_read_or_refused(device: dict[str, Any], whole: object) -> None:
    parsed = parse_snapshot(json.dumps({"device_info": [device]}))
    assert describe(parsed.chips[0])
    find_remedy(parsed, None)
    try:
        parse_snapshot(json.dumps(whole))
    except ValueError:
        return
    assert isinstance(whole, (dict, list))
