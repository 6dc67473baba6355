"""Energy is counted once, across overflows, from files as in /sys/class/powercap; without counters only time is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitnet_tt.energy import EnergyCounters, Stopwatch


def zone(root: Path, folder: str, name: str, energy: int, wraps_at: int = 1000) -> Path:
    (root / folder).mkdir()
    (root / folder / "name").write_text(name + "\n")
    (root / folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    (root / folder / "energy_uj").write_text(f"{energy}\n")
    return root / folder / "energy_uj"


def test_packages_and_their_memory_count_once(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 100)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 100)
    system = zone(tmp_path, "intel-rapl:1", "psys", 100)
    counters = EnergyCounters(tmp_path)
    before = counters.read()
    for counter, now in ((package, 150), (core, 140), (memory, 107), (system, 900)):
        counter.write_text(str(now))
    assert counters.joules_since(before) == pytest.approx(57e-6)
    assert counters.note == "measured by RAPL (package-0, dram)"


def test_an_overflow_of_a_counter_is_corrected(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 990)
    counters = EnergyCounters(tmp_path)
    before = counters.read()
    counter.write_text("15")
    assert counters.joules_since(before) == pytest.approx(25e-6)


def test_a_stopwatch_counts_the_work_and_nothing_between(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    watch = Stopwatch(EnergyCounters(tmp_path))
    for end in (10, 50):
        with watch.running():
            counter.write_text(str(end))
        counter.write_text(str(end + 20))
    assert watch.joules == pytest.approx(30e-6)
    assert len(watch.seconds) == 2


def test_a_machine_without_counters_measures_time_alone(tmp_path: Path) -> None:
    watch = Stopwatch(EnergyCounters(tmp_path / "missing"))
    with watch.running():
        pass
    assert watch.joules is None
    assert watch.seconds[0] >= 0
    assert EnergyCounters(tmp_path).note == "not available: this machine shows no RAPL counters"


def test_unreadable_counters_say_who_can_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    read_text = Path.read_text

    def refuse(path: Path, *arguments: str) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments)

    monkeypatch.setattr(Path, "read_text", refuse)
    counters = EnergyCounters(tmp_path)
    assert counters.note == f"not available: {counter} can be read by root only"
    assert counters.joules_since(counters.read()) is None
