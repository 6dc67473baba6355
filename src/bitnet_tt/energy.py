"""Measure time, and energy with the processor's own counters (RAPL) where the system lets us read them."""

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
    """The energy counters of all processor packages and of their memory (Linux, Documentation/power/powercap).

    Attributes:
        note: Which counters are read, or why none is.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        """Find the counters below the folder `root`. It is no error if there are none, or if they cannot be read."""
        zones, self.note = _find(root)
        self._zones = zones

    def read(self) -> list[int]:
        """Return the current value of each counter, in microjoules."""
        return [int(zone.counter.read_text()) for zone in self._zones]

    def joules_since(self, before: list[int]) -> float | None:
        """Return the energy used since an earlier `read`, or None without counters."""
        return self.joules_between(before, self.read()) if self._zones else None

    def joules_between(self, before: list[int], after: list[int]) -> float:
        """Return the energy used between two results of `read`.

        A counter starts again from zero at its maximum. The result is right if that happened at most once.
        """
        used = zip(after, before, self._zones, strict=True)
        return _MICRO * sum(now - then + (zone.wraps_at if now < then else 0) for now, then, zone in used)


class Stopwatch:
    """Measures the time of each of several pieces of work, and their energy together.

    Attributes:
        seconds: One entry for each piece of work.
        joules: Energy of all pieces of work together; None without counters.
    """

    def __init__(self, counters: EnergyCounters) -> None:
        self._counters = counters
        self.seconds: list[float] = []
        self.joules: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the work inside a with statement."""
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
            # Other zones are parts of a package, or the whole system: they would count the same energy twice.
            if not name.startswith("package") and name != "dram":
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
