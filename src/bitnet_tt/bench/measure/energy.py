"""Time, and energy by the processor's own counters (RAPL) where the system lets us read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class _Zone:
    name: str
    counter: Path
    wraps_at: int


class EnergyCounters:
    """The counters of all processor packages and of their memory, as Linux shows them (its doc power/powercap).

    Attributes:
        note: What is measured, or why nothing is.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        """Find the counters below `root`; a machine without any, or one that hides them, is not an error."""
        zones, self.note = _find(root)
        self._zones = zones

    def read(self) -> list[int]:
        """What the counters say now."""
        return [int(zone.counter.read_text()) for zone in self._zones]

    def joules_since(self, before: list[int]) -> float | None:
        """Energy since an earlier `read`, if less than one turn of a counter ago; None without counters."""
        if not self._zones:
            return None
        used = zip(self.read(), before, self._zones, strict=True)
        return _MICRO * sum(now - then + (zone.wraps_at if now < then else 0) for now, then, zone in used)


class Stopwatch:
    """Seconds of each of several stretches of work, and their energy together.

    Attributes:
        seconds: One entry a stretch.
        joules: Of all of them; None without counters.
    """

    def __init__(self, counters: EnergyCounters) -> None:
        self._counters = counters
        self.seconds: list[float] = []
        self.joules: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the work inside."""
        before = self._counters.read()
        start = time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - start)
        used = self._counters.joules_since(before)
        self.joules = used if self.joules is None or used is None else self.joules + used


def _find(root: Path) -> tuple[list[_Zone], str]:
    zones = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
            if not name.startswith("package") and name != "dram":  # parts of a package, or the whole system
                continue
            zone = _Zone(name, folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
            int(zone.counter.read_text())
        except PermissionError:
            return [], f"not available: {folder / 'energy_uj'} can be read by root only"
        except (OSError, ValueError):
            continue
        zones.append(zone)
    if not zones:
        return [], "not available: this machine shows no RAPL counters"
    return zones, f"measured by RAPL ({', '.join(zone.name for zone in zones)})"
