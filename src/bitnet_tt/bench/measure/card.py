"""The power of a Tenstorrent card while it generates, sampled with tt-smi, and the versions of its software."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import mean
from types import TracebackType
from typing import Self

from bitnet_tt.backends.tt.device.telemetry import Reading, Snapshot, TelemetryError, read_telemetry
from bitnet_tt.bench.measure.workload import Workload
from bitnet_tt.bench.report.results import CardPower, CardReport

SECONDS = 10.0
"""How long each batch generates while the power is sampled: tt-smi takes a second or two for each sample."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which the card generated: from `begin` to `end`, in seconds of `time.perf_counter`."""

    begin: float
    end: float
    tokens: int


class Sampler:
    """Reads the telemetry again and again on a thread of its own, inside a with statement.

    Attributes:
        samples: The time of each answer, in seconds of `time.perf_counter`, and the chip's readings.
        error: Why the sampling ended early; None if it did not.
    """

    def __init__(self, read: Callable[[], Snapshot] = read_telemetry) -> None:
        self._read = read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="tt-smi")
        self.samples: list[tuple[float, Reading]] = []
        self.error: TelemetryError | None = None

    def __enter__(self) -> Self:
        """Start to sample."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last answer."""
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.is_set():
            try:
                chip = self._read().chips[0]
            except TelemetryError as error:
                self.error = error
                return
            self.samples.append((time.perf_counter(), chip))


def card_report(
    work: Workload,
    batches: Iterable[int],
    *,
    read: Callable[[], Snapshot] = read_telemetry,
    seconds: float = SECONDS,
) -> CardReport:
    """Generate each batch again while the card's power is sampled.

    A sample counts if it came while the card generated. The clock and the power of prompts are left out.

    Args:
        work: The work; its largest batch is at least that of `batches`.
        batches: Batch sizes.
        read: Reads the telemetry.
        seconds: How long to generate each batch.
    """
    try:
        first = read()
    except TelemetryError as error:
        return CardReport(_versions(None), (), None, None, (), f"not available: {error}; {error.remedy}")
    chip = first.chips[0]
    power = tuple(_measure(work, batch, read, seconds) for batch in batches)
    return CardReport(
        versions=_versions(first),
        boards=tuple(chip.board for chip in first.chips),
        tdp_limit_watts=chip.tdp_limit_watts,
        board_limit_watts=chip.board_limit_watts,
        power=power,
        note="sampled with tt-smi while it generates",
    )


def _measure(work: Workload, batch: int, read: Callable[[], Snapshot], seconds: float) -> CardPower:
    windows: list[Window] = []
    with Sampler(read) as sampler:
        start = time.perf_counter()
        while not windows or (time.perf_counter() - start < seconds and sampler.error is None):
            with work.decoding(batch) as step:
                begin = time.perf_counter()
                for _ in range(work.new_tokens):
                    step()
                windows.append(Window(begin, time.perf_counter(), batch * work.new_tokens))
    return card_power(batch, windows, sampler.samples)


def card_power(batch: int, windows: Sequence[Window], samples: Iterable[tuple[float, Reading]]) -> CardPower:
    """Return the power of the samples that lie in one of the windows, and the tokens for each joule."""
    inside = [chip for at, chip in samples if any(window.begin <= at <= window.end for window in windows)]
    speed = sum(window.tokens for window in windows) / sum(window.end - window.begin for window in windows)
    board, chip = _mean(one.board_watts for one in inside), _mean(one.chip_watts for one in inside)
    return CardPower(
        batch=batch,
        samples=len(inside),
        board_watts=board,
        chip_watts=chip,
        megahertz=max((one.megahertz for one in inside if one.megahertz is not None), default=None),
        tokens_per_board_joule=speed / board if board else None,
        tokens_per_chip_joule=speed / chip if chip else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _versions(snapshot: Snapshot | None) -> dict[str, str]:
    versions = {name: _version(name) for name in ("bitnet-tt", "ttnn")} | {"Linux": platform.release()}
    if snapshot is None:
        return versions
    return versions | {"driver": snapshot.driver or "unknown", "firmware": snapshot.chips[0].firmware or "unknown"}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
