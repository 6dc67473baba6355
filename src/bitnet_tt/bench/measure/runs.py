"""One run: load the model in a fresh process and measure it with one number of threads."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.options import BackendOptions, Device
from bitnet_tt.backends.select import check_device, check_model, create_backend
from bitnet_tt.bench.measure import stall, verify_rows
from bitnet_tt.bench.measure.busy import busy_processes
from bitnet_tt.bench.measure.card import card_report
from bitnet_tt.bench.measure.head_entropy import scale_norm
from bitnet_tt.bench.measure.memory import measure_memory, peak_rss_bytes
from bitnet_tt.bench.measure.sampling import measure_sampling
from bitnet_tt.bench.measure.stall import measure_stalls
from bitnet_tt.bench.measure.verify_rows import CONTEXT, measure_rows
from bitnet_tt.bench.measure.workload import Workload, context_length
from bitnet_tt.bench.report.extra_results import RowsCost, Stall
from bitnet_tt.bench.report.results import CardReport, Memory, Part, Profile, SamplingSpeed, Speed, Spread
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.energy import EnergyCounters, Stopwatch

_FIRST_TOKEN_PROMPT = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a benchmark.

    Attributes:
        threads: Numbers of CPU threads, one run for each.
        batches: Batch sizes: how many sequences are generated at once.
        prompt_length: Tokens of the prompt whose prefill is timed.
        context: Tokens of a sequence before its first generated token.
        new_tokens: Tokens to generate for each sequence.
        repeats: How often each phase is timed.
        busy: Number of processes that spin during a second measurement; 0 for no second measurement.
        sampling: Whether to measure sampling settings as well.
        verify_rows: Whether to measure steps with several rows as well.
        stall: Numbers of texts that run while a prompt is read; none are not measured.
        start: Whether to measure the time from the start of the program to its first token.
        head_entropy: The entropy that the next token of the model gets, in nats; None leaves the weights as they are.
        device: As for `BitNetModel.from_pretrained`.
        isa: Instruction set that the CPU backend must use; None for the fastest.
    """

    threads: tuple[int, ...]
    batches: tuple[int, ...] = (1,)
    prompt_length: int = 512
    context: int = 128
    new_tokens: int = 64
    repeats: int = 3
    busy: int = 0
    sampling: bool = False
    verify_rows: bool = False
    stall: tuple[int, ...] = ()
    start: bool = False
    head_entropy: float | None = None
    device: Device = "auto"
    isa: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one process. `BenchmarkResult` explains the fields."""

    description: str
    load_s: float
    first_token_s: float
    memory: Memory
    energy: str
    prefill: Speed
    decode: tuple[Speed, ...]
    busy_prefill: Speed | None
    busy_decode: Speed | None
    profiles: tuple[Profile, ...]
    sampling: tuple[SamplingSpeed, ...] = ()
    verify_rows: tuple[RowsCost, ...] = ()
    stalls: tuple[Stall, ...] = ()
    card: CardReport | None = None


def run(model: Path, settings: Settings, threads: int) -> Run:
    """Load a model and measure it in this process."""
    interpreter_bytes = peak_rss_bytes()
    start = time.perf_counter()
    checkpoint = Checkpoint.open(model)
    smallest_batch, largest_batch = min(settings.batches), max(settings.batches)
    with closing(_load(checkpoint, settings, threads, largest_batch)) as backend:
        work = _workload(backend, checkpoint, settings, smallest_batch)
        load_s = time.perf_counter() - start
        timer = _Timer(settings, threads)
        work.prefill(min(_FIRST_TOKEN_PROMPT, settings.prompt_length), Stopwatch(timer.counters))
        first_token_s = time.perf_counter() - start
        if settings.device != "tt":  # a card compiles only what the workload needs
            backend.warm_up(largest_batch, lambda done, total: None)
        prefill = timer.prefill(work)
        decode = {smallest_batch: timer.decode(work, smallest_batch)}
        memory = measure_memory(
            backend, checkpoint, interpreter_bytes=interpreter_bytes
        )  # before batches that need more
        if largest_batch > smallest_batch:
            work = _workload(backend, checkpoint, settings, largest_batch)
        for batch in settings.batches:
            if batch != smallest_batch:
                decode[batch] = timer.decode(work, batch)
        busy_prefill = busy_decode = None
        if settings.busy:
            with busy_processes(settings.busy):
                busy_prefill, busy_decode = timer.prefill(work), timer.decode(work, smallest_batch)
        card = card_report(work, settings.batches) if settings.device == "tt" else None
        profiles = _profiles(backend, work, settings.batches, threads)
        sampling = measure_sampling(work, threads, settings.repeats) if settings.sampling else ()
        return Run(
            description=backend.description,
            load_s=load_s,
            first_token_s=first_token_s,
            memory=memory,
            energy=timer.counters.note,
            prefill=prefill,
            decode=tuple(decode[batch] for batch in settings.batches),
            busy_prefill=busy_prefill,
            busy_decode=busy_decode,
            profiles=profiles,
            sampling=sampling,
            verify_rows=_verify_rows(backend, work.vocab_size, settings, threads) if settings.verify_rows else (),
            stalls=_stalls(backend, work.vocab_size, settings, threads) if settings.stall else (),  # closes the backend
            card=card,
        )


def _load(checkpoint: Checkpoint, settings: Settings, threads: int, batch: int) -> Backend:
    length = max(
        context_length(settings.prompt_length, settings.context, settings.new_tokens, batch),
        max(map(verify_rows.length, _contexts(settings))) if settings.verify_rows else 0,
        stall.length(max(settings.stall), settings.context, settings.prompt_length, settings.new_tokens)
        if settings.stall
        else 0,
    )
    options = BackendOptions(settings.device, threads, settings.isa)
    check_device(options)
    check_model(checkpoint.config, options, embeds=checkpoint.pooling is not None, adapted=False)
    config, weights = checkpoint.config, checkpoint.load_weights()
    if settings.head_entropy is not None:
        with closing(create_backend(config, weights, options, context_length=length)) as backend:
            weights = scale_norm(weights, backend, config.vocab_size, settings.head_entropy)
    return create_backend(config, weights, options, context_length=length)


def _workload(backend: Backend, checkpoint: Checkpoint, settings: Settings, batch: int) -> Workload:
    return Workload(
        backend,
        checkpoint.config.vocab_size,
        prompt_length=settings.prompt_length,
        context=settings.context,
        new_tokens=settings.new_tokens,
        batch=batch,
    )


def _contexts(settings: Settings) -> list[int]:
    """Return the contexts after which steps with several rows are measured."""
    return sorted({CONTEXT, settings.context})


def _verify_rows(backend: Backend, vocab_size: int, settings: Settings, threads: int) -> tuple[RowsCost, ...]:
    rounds = settings.repeats * settings.new_tokens
    return measure_rows(backend, vocab_size, _contexts(settings), threads=threads, rounds=rounds)


def _stalls(backend: Backend, vocab_size: int, settings: Settings, threads: int) -> tuple[Stall, ...]:
    return measure_stalls(
        backend,
        vocab_size,
        settings.stall,
        threads=threads,
        context=settings.context,
        prompt_length=settings.prompt_length,
        new_tokens=settings.new_tokens,
        repeats=settings.repeats,
    )


class _Timer:
    """Times each phase of a workload `settings.repeats` times."""

    def __init__(self, settings: Settings, threads: int) -> None:
        self.counters = EnergyCounters()
        self._settings = settings
        self._threads = threads

    def prefill(self, work: Workload) -> Speed:
        """Return the speed of reading a prompt."""
        watch = Stopwatch(self.counters)
        for _ in range(self._settings.repeats):
            work.prefill(work.prompt_length, watch)
        return _speed(watch, work.prompt_length, self._threads, 1)

    def decode(self, work: Workload, batch: int) -> Speed:
        """Return the speed of generating `batch` sequences."""
        watch = Stopwatch(self.counters)
        for _ in range(self._settings.repeats):
            work.decode(batch, watch)
        return _speed(watch, batch * work.new_tokens, self._threads, batch)


def _speed(watch: Stopwatch, tokens: int, threads: int, batch: int) -> Speed:
    """Return the speed and its spread. Each time of the stopwatch is for `tokens` tokens."""
    rates = Spread.of(tokens / seconds for seconds in watch.seconds)
    joules = None if watch.joules is None else watch.joules / (tokens * len(watch.seconds))
    return Speed(threads, batch, rates.median, rates.least, rates.greatest, joules_per_token=joules)


def _profiles(backend: Backend, work: Workload, batches: tuple[int, ...], threads: int) -> tuple[Profile, ...]:
    """Profile a prefill, and a decode step of each batch. Return nothing if the backend has no profile."""
    unused = Stopwatch(EnergyCounters())
    backend.start_profile()
    work.prefill(work.prompt_length, unused)
    parts = _parts(backend, 1)
    if not parts:
        return ()
    profiles = [Profile("prefill", threads, 1, parts)]
    for batch in batches:
        rescored = []
        with work.decoding(batch) as step:
            backend.start_profile()
            for _ in range(work.new_tokens):
                step()
                rescored.append((backend.stats().logits_computed or 0) / (batch * work.vocab_size))
            parts = _parts(backend, work.new_tokens)
        profiles.append(Profile("decode", threads, batch, parts, median(rescored)))
    return tuple(profiles)


def _parts(backend: Backend, steps: int) -> tuple[Part, ...]:
    return tuple(
        Part(phase.name, phase.seconds / steps, phase.waiting / steps, phase.bytes_read // steps)
        for phase in backend.stop_profile()
    )
