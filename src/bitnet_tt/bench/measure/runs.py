"""One run: a fresh process that loads the model and times it with one number of threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.options import BackendOptions, Device
from bitnet_tt.backends.select import create_backend
from bitnet_tt.bench.measure.busy import busy_processes
from bitnet_tt.bench.measure.energy import EnergyCounters, Stopwatch
from bitnet_tt.bench.measure.memory import memory_taken, peak_rss_bytes
from bitnet_tt.bench.measure.workload import Workload, context_length
from bitnet_tt.bench.report.results import Memory, Part, Profile, Speed, Spread
from bitnet_tt.checkpoint import Checkpoint

_FIRST_TOKEN_PROMPT = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure.

    Attributes:
        threads: Numbers of threads.
        batches: Numbers of sequences to generate at once.
        prompt_length: Tokens of the prompts whose reading is timed.
        context: Tokens before the first generated one.
        new_tokens: Tokens to generate of each sequence.
        repeats: Times each phase is timed.
        busy: Processes to spin in a second measurement; 0 for none.
        device: As for `BitNetModel.from_pretrained`.
        isa: Instruction set of the CPU backend to force.
    """

    threads: tuple[int, ...]
    batches: tuple[int, ...] = (1,)
    prompt_length: int = 512
    context: int = 128
    new_tokens: int = 64
    repeats: int = 3
    busy: int = 0
    device: Device = "auto"
    isa: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What one process measured; see `BenchmarkResult`."""

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


def run(model: Path, settings: Settings, threads: int) -> Run:
    """Load a model and measure it, in this process."""
    interpreter_bytes = peak_rss_bytes()
    start = time.perf_counter()
    checkpoint = Checkpoint.open(model)
    widest, smallest = max(settings.batches), min(settings.batches)
    lengths = (settings.prompt_length, settings.context, settings.new_tokens)
    backend = create_backend(
        checkpoint.config,
        checkpoint.load_weights(),
        BackendOptions(settings.device, threads, settings.isa),
        context_length=context_length(*lengths, batch=widest),
    )

    def workload(batch: int) -> Workload:
        return Workload(
            backend,
            checkpoint.config.vocab_size,
            prompt_length=settings.prompt_length,
            context=settings.context,
            new_tokens=settings.new_tokens,
            batch=batch,
        )

    work = workload(smallest)
    load_s = time.perf_counter() - start
    counters = EnergyCounters()
    work.prefill(min(_FIRST_TOKEN_PROMPT, settings.prompt_length), Stopwatch(counters))
    first_token_s = time.perf_counter() - start

    def prefill() -> Speed:
        watch = Stopwatch(counters)
        for _ in range(settings.repeats):
            work.prefill(settings.prompt_length, watch)
        return _speed(watch, settings.prompt_length, threads, 1)

    def decode(batch: int) -> Speed:
        watch = Stopwatch(counters)
        for _ in range(settings.repeats):
            work.decode(batch, watch)
        return _speed(watch, batch * settings.new_tokens, threads, batch)

    read, first = prefill(), decode(smallest)
    memory = memory_taken(backend, checkpoint, interpreter_bytes=interpreter_bytes)
    if widest > smallest:
        work = workload(widest)
    written = {smallest: first} | {batch: decode(batch) for batch in settings.batches if batch != smallest}
    busy_read = busy_written = None
    if settings.busy:
        with busy_processes(settings.busy):
            busy_read, busy_written = prefill(), decode(smallest)
    return Run(
        description=backend.description,
        load_s=load_s,
        first_token_s=first_token_s,
        memory=memory,
        energy=counters.note,
        prefill=read,
        decode=tuple(written[batch] for batch in settings.batches),
        busy_prefill=busy_read,
        busy_decode=busy_written,
        profiles=_profiles(backend, work, settings.batches, threads),
    )


def _speed(watch: Stopwatch, tokens: int, threads: int, batch: int) -> Speed:
    """The speed of stretches of work that gave so many tokens each."""
    rates = Spread.of(tokens / seconds for seconds in watch.seconds)
    joules = None if watch.joules is None else watch.joules / (tokens * len(watch.seconds))
    return Speed(threads, batch, rates.median, rates.least, rates.greatest, joules_per_token=joules)


def _profiles(backend: Backend, work: Workload, batches: tuple[int, ...], threads: int) -> tuple[Profile, ...]:
    """Profile a step: of reading a prompt, and of generating each batch. Empty if the backend has no profile."""
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
