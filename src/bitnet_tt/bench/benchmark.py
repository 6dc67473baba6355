"""A whole benchmark: run each number of threads in a fresh process, and put the results together."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from bitnet_tt.bench.measure import roofs
from bitnet_tt.bench.measure.runs import Run, Settings, run
from bitnet_tt.bench.measure.start import measure_start
from bitnet_tt.bench.report.extra_results import Start
from bitnet_tt.bench.report.published import published_figures
from bitnet_tt.bench.report.results import BenchmarkResult, Busy, Roof, Speed
from bitnet_tt.bench.report.shares import operations_per_token, with_shares
from bitnet_tt.checkpoint import Checkpoint


def run_benchmark(
    model: Path, settings: Settings, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> BenchmarkResult:
    """Measure a model with each number of threads, and the CPU's roofs just before and just after each.

    Args:
        model: A checkpoint folder or GGUF file. It needs a tokenizer only for `settings.start`.
        settings: What to measure.
        progress: Called with the number of finished runs and the number of all runs.
    """
    runs: list[Run] = []
    measured_roofs: list[Roof] = []
    for threads in settings.threads:
        progress(len(runs), len(settings.threads))
        if settings.device == "tt":  # the roofs are the CPU's: they do not limit a card
            runs.append(in_fresh_process(run, model, settings, threads))
        else:
            before = in_fresh_process(roofs.measure, threads, settings.isa)
            runs.append(in_fresh_process(run, model, settings, threads))
            after = in_fresh_process(roofs.measure, threads, settings.isa)
            measured_roofs.append(roofs.roof(threads, before, after))
    starts = _starts(model, settings) if settings.start else ()
    config = Checkpoint.open(model).config
    last = runs[-1]
    shares = _Shares(operations_per_token(config), tuple(measured_roofs))
    return BenchmarkResult(
        device=last.description,
        prompt_length=settings.prompt_length,
        context=settings.context,
        new_tokens=settings.new_tokens,
        ternary_bytes=config.ternary_weights // 4,
        operations_per_token=operations_per_token(config),
        load_s=last.load_s,
        first_token_s=last.first_token_s,
        memory=last.memory,
        energy=last.energy,
        roofs=tuple(measured_roofs),
        prefill=tuple(shares.of_prefill(one.prefill) for one in runs),
        decode=tuple(shares.of_decode(speed, one) for one in runs for speed in one.decode),
        busy=_busy(settings, runs, shares),
        sampling=tuple(speed for one in runs for speed in one.sampling),
        verify_rows=tuple(cost for one in runs for cost in one.verify_rows),
        stalls=tuple(stall for one in runs for stall in one.stalls),
        starts=starts,
        profiles=tuple(profile for one in runs for profile in one.profiles),
        card=last.card,
        reported=published_figures(config),
    )


def in_fresh_process[**P, R](function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """Call a function in a new Python process, so that its memory and its caches start empty.

    If this process is interrupted, the other one is told to end, and waited for: it closes its device.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), exit_on_signals) as process:
        result = process.submit(function, *arguments, **options)
        try:
            return result.result()
        except (KeyboardInterrupt, SystemExit):
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def exit_on_signals() -> None:
    """End this process by SystemExit on SIGTERM and SIGHUP, so that every `finally` runs."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def _starts(model: Path, settings: Settings) -> tuple[Start, ...]:
    return measure_start(model, settings.threads, device=settings.device, isa=settings.isa, repeats=settings.repeats)


def _busy(settings: Settings, runs: list[Run], shares: _Shares) -> Busy | None:
    if not settings.busy:
        return None
    prefill = [shares.of_prefill(one.busy_prefill) for one in runs if one.busy_prefill]
    decode = [shares.of_decode(one.busy_decode, one) for one in runs if one.busy_decode]
    return Busy(settings.busy, tuple(prefill), tuple(decode))


class _Shares:
    """Adds to a speed its shares of the roof of the same number of threads. Without such a roof it adds nothing."""

    def __init__(self, operations: int, roofs: tuple[Roof, ...]) -> None:
        self._operations = operations
        self._roofs = {roof.threads: roof for roof in roofs}

    def of_prefill(self, speed: Speed) -> Speed:
        """Add the share of the int8 peak. Memory reads do not limit a prompt."""
        roof = self._roofs.get(speed.threads)
        return speed if roof is None else with_shares(speed, roof, operations=self._operations)

    def of_decode(self, speed: Speed, run: Run) -> Speed:
        """Add the shares, and the bytes and lm_head rows that the run's profile counted."""
        roof = self._roofs.get(speed.threads)
        if roof is None:
            return speed
        profile = next(one for one in run.profiles if (one.phase, one.batch) == ("decode", speed.batch))
        bytes_per_step = sum(part.bytes_read for part in profile.parts)
        speed = replace(speed, head_rows_rescored=profile.head_rows_rescored)
        return with_shares(speed, roof, bytes_per_step=bytes_per_step, operations=self._operations)
