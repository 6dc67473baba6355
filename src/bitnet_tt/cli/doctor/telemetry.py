"""A check of the telemetry of Tenstorrent cards, as `tt-smi -s` reports it: power, temperature, clock, DRAM."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from bitnet_tt.cli.doctor.check import Check

TIMEOUT_SECONDS = 20
"""Seconds that tt-smi gets to answer."""

_RESET = "make sure that no other program uses the card, then reset it: tt-smi -r"


@dataclass(frozen=True, slots=True)
class Reading:
    """The telemetry of one chip. A value that tt-smi does not report is None.

    Attributes:
        board: The type of the board, such as `p150a`.
        core_watts: Power of the chip's cores.
        board_watts: Power of the whole board; only newer firmware reports it.
        celsius: Temperature of the chip.
        throttle_celsius: The temperature at which the chip slows down.
        megahertz: Clock of the cores: 800 when idle, 1350 at work.
        dram_trained: Whether the chip's DRAM is ready.
    """

    board: str
    core_watts: float | None
    board_watts: float | None
    celsius: float | None
    throttle_celsius: float | None
    megahertz: float | None
    dram_trained: bool | None

    def __str__(self) -> str:
        values = (
            ("core", self.core_watts, "W"),
            ("board", self.board_watts, "W"),
            ("chip", self.celsius, "°C"),
            ("clock", self.megahertz, "MHz"),
        )
        readings = ", ".join(
            f"{name} {'n/a' if value is None else f'{value:g} {unit}'}" for name, value, unit in values
        )
        return f"{self.board}: {readings}"

    @property
    def remedy(self) -> str:
        """The remedy for these readings; empty if they are normal."""
        if self.dram_trained is False:
            return "the card's DRAM is not ready: reset the card (tt-smi -r), or power the machine off and on"
        if self.celsius and self.throttle_celsius and self.celsius >= self.throttle_celsius:
            return f"the chip slows down from {self.throttle_celsius:g} °C: give it more air"
        return ""


def check_telemetry() -> Check:
    """Check the telemetry of all cards. tt-smi may be missing, fail, hang, or print something else than expected."""
    program = shutil.which("tt-smi")
    if program is None:
        return Check(
            "Telemetry", "missing", "tt-smi is not installed", "to see power and temperature: uv tool install tt-smi"
        )
    try:
        answer = subprocess.run(
            [program, "-s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("Telemetry", "warn", f"tt-smi did not answer in {TIMEOUT_SECONDS} s", _RESET)
    except OSError as error:
        remedy = "uv tool install --reinstall tt-smi"
        return Check("Telemetry", "warn", f"{program} does not start: {error.strerror}", remedy)
    if answer.returncode:
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        reason = lines[-1].strip() if lines else "it prints nothing"
        return Check("Telemetry", "warn", f"tt-smi failed: {reason}", _RESET)
    try:
        readings = parse_snapshot(answer.stdout)
    except ValueError as error:
        return Check("Telemetry", "warn", f"tt-smi's answer cannot be read: {error}", "uv tool upgrade tt-smi")
    if not readings:
        return Check("Telemetry", "warn", "tt-smi sees no card", _RESET)
    remedy = next((reading.remedy for reading in readings if reading.remedy), "")
    return Check("Telemetry", "warn" if remedy else "ok", "; ".join(map(str, readings)), remedy)


def parse_snapshot(text: str) -> list[Reading]:
    """Return the readings of every chip in the output of `tt-smi -s`, which has numbers as padded strings.

    Raises:
        ValueError: The text is not such an output.
    """
    start = text.find("{")  # log lines may come first
    if start < 0:
        raise ValueError("it is not JSON")
    snapshot, _ = json.JSONDecoder().raw_decode(text, start)
    devices = snapshot.get("device_info")
    if not isinstance(devices, list):
        raise ValueError("it has no device_info")
    return [_reading(device) for device in devices]


def _reading(device: Any) -> Reading:
    telemetry, board = _section(device, "telemetry"), _section(device, "board_info")
    return Reading(
        board=str(board.get("board_type") or "unknown board"),
        core_watts=_number(telemetry.get("power")),
        board_watts=_number(telemetry.get("board_power")),
        celsius=_number(telemetry.get("asic_temperature")),
        throttle_celsius=_number(_section(device, "limits").get("therm_trip_l1_limit")),
        megahertz=_number(telemetry.get("aiclk")),
        dram_trained={"true": True, "false": False}.get(str(board.get("dram_status")).lower()),
    )


def _section(device: Any, name: str) -> dict[str, Any]:
    section = device.get(name) if isinstance(device, dict) else None
    return section if isinstance(section, dict) else {}


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
