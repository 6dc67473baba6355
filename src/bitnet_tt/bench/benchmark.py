"""A whole benchmark: roofs, runs, shares and peers, put together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from bitnet_tt.bench.measure import roofs
from bitnet_tt.bench.measure.runs import Run, Settings, run
from bitnet_tt.bench.report.published import reported
from bitnet_tt.bench.report.results import BenchmarkResult, Busy, PeerResult, Roof, Speed
from bitnet_tt.bench.report.shares import operations_per_token, ternary_weights, with_shares
from bitnet_tt.checkpoint import Checkpoint
from tools.compare import peers


def run_benchmark(
    model: Path,
    settings: Settings,
    *,
    compare: peers.PeerName | None = None,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchmarkResult:
    """Measure a model, each number of threads in a fresh process, and the CPU's roofs before and after each.

    Args:
        model: A checkpoint folder or GGUF file; it needs no tokenizer.
        settings: What to measure.
        compare: Another program to measure on the same shape.
        folder: Where the model's copy in the peer's format is kept.
        progress: Called with how many measurements are done, and how many there are.

    Raises:
        BenchmarkError: The peer is not installed, has no such models, or failed.
    """
    if compare is not None:
        peers.check(compare)
    total = len(settings.threads) * (1 if compare is None else 2)
    runs: list[Run] = []
    limits: list[Roof] = []
    for threads in settings.threads:
        progress(len(runs), total)
        if settings.device == "tt":  # the CPU's roofs say nothing about a card
            runs.append(_in_process(run, model, settings, threads))
        else:
            before = _in_process(roofs.measure, threads, settings.isa)
            runs.append(_in_process(run, model, settings, threads))
            limits.append(roofs.roof(threads, before, _in_process(roofs.measure, threads, settings.isa)))
    config = Checkpoint.open(model).config
    last = runs[-1]
    shares = _Shares(operations_per_token(config), tuple(limits))
    measured: list[PeerResult] = []
    if compare is not None:
        for threads in settings.threads:
            progress(len(runs) + len(measured), total)
            measured.append(shares.of_peer(peers.run(compare, model, settings, threads, folder)))
    return BenchmarkResult(
        device=last.description,
        prompt_length=settings.prompt_length,
        context=settings.context,
        new_tokens=settings.new_tokens,
        ternary_bytes=ternary_weights(config) // 4,
        operations_per_token=operations_per_token(config),
        load_s=last.load_s,
        first_token_s=last.first_token_s,
        memory=last.memory,
        energy=last.energy,
        roofs=shares.roofs,
        prefill=tuple(shares.of_prefill(one.prefill) for one in runs),
        decode=tuple(shares.of_decode(speed, one) for one in runs for speed in one.decode),
        busy=_busy(settings, runs, shares),
        profiles=tuple(profile for one in runs for profile in one.profiles),
        peers=tuple(measured),
        reported=reported(config),
    )


def _in_process[**P, R](function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """Call a function in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments, **options).result()


def _busy(settings: Settings, runs: list[Run], shares: _Shares) -> Busy | None:
    if not settings.busy:
        return None
    prefill = [shares.of_prefill(one.busy_prefill) for one in runs if one.busy_prefill]
    decode = [shares.of_decode(one.busy_decode, one) for one in runs if one.busy_decode]
    return Busy(settings.busy, tuple(prefill), tuple(decode))


class _Shares:
    """Puts speeds beside the roof of their number of threads; without roofs it leaves them alone."""

    def __init__(self, operations: int, roofs: tuple[Roof, ...]) -> None:
        self.roofs = roofs
        self._operations = operations
        self._roofs = {roof.threads: roof for roof in roofs}

    def of_prefill(self, speed: Speed) -> Speed:
        """Add the share of the int8 peak; what is read from memory for a prompt limits nothing."""
        roof = self._roofs.get(speed.threads)
        return speed if roof is None else with_shares(speed, roof, operations=self._operations)

    def of_decode(self, speed: Speed, run: Run) -> Speed:
        """Add what the run's profile of such a step counted, and the shares."""
        roof = self._roofs.get(speed.threads)
        if roof is None:
            return speed
        profile = next(one for one in run.profiles if (one.phase, one.batch) == ("decode", speed.batch))
        size = sum(part.bytes_read for part in profile.parts)
        speed = replace(speed, head_rows_rescored=profile.head_rows_rescored)
        return with_shares(speed, roof, bytes_per_step=size, operations=self._operations)

    def of_peer(self, peer: PeerResult) -> PeerResult:
        """Add the shares of what the peer reads; how it multiplies is its own affair."""
        if not self._roofs:
            return peer
        roof = self._roofs[peer.prefill.threads]
        decode = [with_shares(speed, roof, bytes_per_step=speed.bytes_per_step) for speed in peer.decode]
        return replace(peer, decode=tuple(decode))
