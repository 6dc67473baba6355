"""The telemetry of Tenstorrent cards, as `tt-smi -s` reports it: power, temperature, clock, firmware."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 20
"""Seconds that tt-smi gets to answer."""

IDLE_MEGAHERTZ = 800
"""The clock of a Blackhole chip that does nothing. At work it is 1350."""

_RESET = "make sure that no other program uses the card, then reset it: tt-smi -r"


class TelemetryError(Exception):
    """There is no telemetry. Its text says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Reading:
    """The telemetry of one chip. A value that tt-smi does not report is None.

    Attributes:
        board: The type of the board, such as `p150a`.
        firmware: Version of the firmware bundle; empty if unknown.
        chip_watts: Power of the chip.
        board_watts: Power of the whole board; only newer firmware reports it.
        celsius: Temperature of the chip.
        throttle_celsius: The temperature at which the chip slows down.
        megahertz: Clock of the cores.
        tdp_limit_watts: The power above which the firmware slows the chip down.
        board_limit_watts: The same for the board.
        dram_trained: Whether the chip's DRAM is ready.
    """

    board: str
    firmware: str
    chip_watts: float | None
    board_watts: float | None
    celsius: float | None
    throttle_celsius: float | None
    megahertz: float | None
    tdp_limit_watts: float | None
    board_limit_watts: float | None
    dram_trained: bool | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One answer of tt-smi.

    Attributes:
        chips: One reading for each chip.
        driver: The driver and its version, such as `TT-KMD 2.4.1`; empty if unknown.
        in_use: Whether a process other than tt-smi itself has a card open.
    """

    chips: tuple[Reading, ...]
    driver: str
    in_use: bool


def read_telemetry() -> Snapshot:
    """Ask tt-smi, which takes a second or two. It may be missing, fail, hang, or print something unexpected.

    Raises:
        TelemetryError: There is no telemetry.
    """
    program = shutil.which("tt-smi")
    if program is None:
        raise TelemetryError("tt-smi is not installed", "to see power and temperature: uv tool install tt-smi")
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
        raise TelemetryError(f"tt-smi did not answer in {TIMEOUT_SECONDS} s", _RESET) from None
    except OSError as error:
        raise TelemetryError(
            f"{program} does not start: {error.strerror}", "uv tool install --reinstall tt-smi"
        ) from None
    if answer.returncode:
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        raise TelemetryError(f"tt-smi failed: {lines[-1].strip() if lines else 'it prints nothing'}", _RESET)
    try:
        snapshot = parse_snapshot(answer.stdout)
    except ValueError as error:
        raise TelemetryError(f"tt-smi's answer cannot be read: {error}", "uv tool upgrade tt-smi") from None
    if not snapshot.chips:
        raise TelemetryError("tt-smi sees no card", _RESET)
    return snapshot


def parse_snapshot(text: str) -> Snapshot:
    """Return what the output of `tt-smi -s` says. It has numbers as padded strings, and `N/A`.

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
    processes = snapshot.get("processes")
    return Snapshot(
        chips=tuple(map(_reading, devices)),
        driver=_text(_section(snapshot, "host_info").get("Driver")),
        in_use=isinstance(processes, list) and any("tt-smi" not in str(process) for process in processes),
    )


def _reading(device: Any) -> Reading:
    telemetry, board, limits = (_section(device, name) for name in ("telemetry", "board_info", "limits"))
    return Reading(
        board=_text(board.get("board_type")) or "unknown board",
        firmware=_text(_section(device, "firmwares").get("fw_bundle_version")),
        chip_watts=_number(telemetry.get("power")),
        board_watts=_number(telemetry.get("board_power")),
        celsius=_number(telemetry.get("asic_temperature")),
        throttle_celsius=_number(limits.get("therm_trip_l1_limit")),
        megahertz=_number(telemetry.get("aiclk")),
        tdp_limit_watts=_number(limits.get("tdp_limit")) or None,  # 0 stands for an unknown limit
        board_limit_watts=_number(limits.get("board_power_limit")) or None,
        dram_trained={"true": True, "false": False}.get(str(board.get("dram_status")).lower()),
    )


def _section(value: Any, name: str) -> dict[str, Any]:
    section = value.get(name) if isinstance(value, dict) else None
    return section if isinstance(section, dict) else {}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) and value.strip() != "N/A" else ""


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
