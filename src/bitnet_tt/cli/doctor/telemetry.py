"""Checks of the telemetry of Tenstorrent cards: temperature, DRAM, clock, and a P300 of which one chip is missing."""

from __future__ import annotations

from pathlib import Path

from bitnet_tt.backends.tt.device.telemetry import (
    IDLE_MEGAHERTZ,
    Reading,
    Snapshot,
    TelemetryError,
    read_telemetry,
)
from bitnet_tt.backends.tt.environment import has_mesh_graph
from bitnet_tt.cli.doctor.check import Check

_MESH_GRAPH = "tt_metal/fabric/mesh_graph_descriptors/p150_mesh_graph_descriptor.textproto"


def check_telemetry(ttnn: Path | None) -> Check:
    """Check the telemetry of all cards.

    Args:
        ttnn: The folder of the installed ttnn.
    """
    try:
        snapshot = read_telemetry()
    except TelemetryError as error:
        missing = "not installed" in str(error)
        return Check("Telemetry", "missing" if missing else "warn", str(error), error.remedy)
    remedy = find_remedy(snapshot, ttnn)
    return Check("Telemetry", "warn" if remedy else "ok", "; ".join(map(describe, snapshot.chips)), remedy)


def describe(chip: Reading) -> str:
    """Return the readings of a chip in one line."""
    values = (
        ("chip", chip.chip_watts, "W"),
        ("board", chip.board_watts, "W"),
        ("temperature", chip.celsius, "°C"),
        ("clock", chip.megahertz, "MHz"),
    )
    readings = ", ".join(f"{name} {'n/a' if value is None else f'{value:g} {unit}'}" for name, value, unit in values)
    return f"{chip.board}: {readings}"


def find_remedy(snapshot: Snapshot, ttnn: Path | None) -> str:
    """Return the remedy for the first reading that is not normal; empty if all are."""
    for chip in snapshot.chips:
        if chip.dram_trained is False:
            return "the card's DRAM is not ready: reset the card (tt-smi -r), or power the machine off and on"
        if chip.celsius and chip.throttle_celsius and chip.celsius >= chip.throttle_celsius:
            return f"the chip slows down from {chip.throttle_celsius:g} °C: give it more air"
    halves = sum(chip.board.lower().startswith("p300") for chip in snapshot.chips)
    if halves % 2 and not has_mesh_graph():
        graph = ttnn / _MESH_GRAPH if ttnn else f"{_MESH_GRAPH} in ttnn's folder"
        return f"one chip of a p300 is not visible, and ttnn then opens no device: set TT_MESH_GRAPH_DESC_PATH={graph}"
    # Without work every clock is low. tt-smi shows which processes have a card open.
    if snapshot.in_use and all(chip.megahertz and chip.megahertz <= IDLE_MEGAHERTZ for chip in snapshot.chips):
        return (
            f"a program uses the card, but the clock stays at {IDLE_MEGAHERTZ} MHz: if that program computes, it is "
            "slow; update driver and firmware, or power the machine off and on"
        )
    return ""
