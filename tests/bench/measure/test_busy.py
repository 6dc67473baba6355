"""Busy processes use processor time during the measurement, and end with it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bitnet_tt.bench.measure.busy import busy_processes


def spinning() -> dict[str, int]:
    """The processor time, in ticks, of each spinning child of this process."""
    ticks = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and b"sum(range" in (stat.parent / "cmdline").read_bytes():
            ticks[stat.parent.name] = int(fields[11]) + int(fields[12])
    return ticks


def test_they_use_time_and_end_with_the_measurement() -> None:
    with busy_processes(2):
        before = spinning()
        assert len(before) == 2
        deadline = time.monotonic() + 30
        while not all(now > then for now, then in zip(spinning().values(), before.values(), strict=True)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not spinning()


def test_they_end_after_an_error_too() -> None:
    with pytest.raises(KeyboardInterrupt), busy_processes(1):
        raise KeyboardInterrupt
    assert not spinning()
