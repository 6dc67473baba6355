"""What only some machines have is counted there, and missing elsewhere."""

from pathlib import Path

from bitnet_tt.energy import EnergyCounters
from bitnet_tt.server.metrics import Metrics
from bitnet_tt.server.text_service import Load


def idle() -> Load:
    return Load(running=0, waiting=0, blocks=1, used_blocks=0, preemptions=0, draft_tokens=0, accepted_tokens=0)


def energy_counter(root: Path) -> Path:
    """Write the files of an energy counter, and return that with its value."""
    zone = root / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")
    (zone / "energy_uj").write_text("9000000\n")
    return zone / "energy_uj"


def test_energy_adds_up_over_scrapes_and_overflows(tmp_path: Path) -> None:
    counter = energy_counter(tmp_path)
    metrics = Metrics(idle, EnergyCounters(tmp_path))
    for energy, joules in (("9500000", 0.5), ("2000000", 3.0), ("1000000", 12.0)):  # the counter overflows twice
        counter.write_text(energy)
        assert f"bitnet_energy_joules_total {joules}\n" in metrics.text().decode()


def test_without_counters_there_is_no_metric_of_energy(tmp_path: Path) -> None:
    assert b"joules" not in Metrics(idle, EnergyCounters(tmp_path)).text()
