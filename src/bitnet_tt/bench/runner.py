"""Time a model: loading, first token, prefill and decode, for several numbers of threads."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_tt.backends.select import Device, create_backend
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of one phase at one setting: median, least and greatest over the repeats."""

    threads: int
    batch: int
    tokens_per_s: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. The peak is of a fresh process that has loaded the model, read the prompt and generated."""

    peak_rss_bytes: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What was measured.

    Attributes:
        device: The backend's description of itself.
        prompt_length: Tokens of each prompt.
        new_tokens: Tokens generated after it.
        load_s: Seconds from opening the files to a model that can run, all weights checked.
        first_token_s: Seconds from opening the files to the first token of a 16-token prompt.
        memory: Memory of the run with the most threads.
        prefill: Speed of reading prompts, one entry a number of threads.
        decode: Speed of generating, one entry a number of threads.
    """

    device: str
    prompt_length: int
    new_tokens: int
    load_s: float
    first_token_s: float
    memory: Memory
    prefill: tuple[Speed, ...]
    decode: tuple[Speed, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    description: str
    load_s: float
    first_token_s: float
    memory: Memory
    prefill: Speed
    decode: Speed


def run_benchmark(
    model: Path,
    *,
    device: Device = "auto",
    threads: Sequence[int],
    prompt_length: int = 512,
    new_tokens: int = 64,
    repeats: int = 3,
    isa: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchmarkResult:
    """Measure a model, each number of threads in a fresh process.

    Args:
        model: A checkpoint folder or GGUF file; it needs no tokenizer.
        device: As for `BitNetModel.from_pretrained`.
        threads: Numbers of threads to measure.
        prompt_length: Tokens of the prompt whose reading is timed.
        new_tokens: Tokens whose generation is timed.
        repeats: Times each phase is timed.
        isa: Instruction set of the CPU backend to force.
        progress: Called with how many of `threads` are done, and how many there are.
    """
    runs = []
    for done, count in enumerate(threads):
        progress(done, len(threads))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            runs.append(process.submit(_run, model, device, count, prompt_length, new_tokens, repeats, isa).result())
    best = runs[-1]
    return BenchmarkResult(
        device=best.description,
        prompt_length=prompt_length,
        new_tokens=new_tokens,
        load_s=best.load_s,
        first_token_s=best.first_token_s,
        memory=best.memory,
        prefill=tuple(run.prefill for run in runs),
        decode=tuple(run.decode for run in runs),
    )


def _run(
    model: Path, device: Device, threads: int, prompt_length: int, new_tokens: int, repeats: int, isa: str | None
) -> _Run:
    start = time.perf_counter()
    checkpoint = Checkpoint.open(model)
    config = checkpoint.config
    length = prompt_length + new_tokens + 1
    backend = create_backend(device, config, checkpoint.load_weights(), context_length=length, threads=threads, isa=isa)
    engine = Engine(backend, vocab_size=config.vocab_size, context_length=length, max_batch_size=1)
    load_s = time.perf_counter() - start
    rng = np.random.default_rng(0)

    def generate(prompt_tokens: int, count: int) -> tuple[float, float]:
        """Tokens a second of reading the prompt and of generating after it."""
        prompt = rng.integers(0, config.vocab_size, prompt_tokens).tolist()
        request = engine.request(prompt, GenerationConfig(max_new_tokens=count))
        for _ in engine.outputs(request):
            pass
        prefill_s = request.first_token_at - request.submitted_at
        decode_s = request.finished_at - request.first_token_at
        return prompt_tokens / prefill_s, (count - 1) / decode_s if count > 1 else 0.0

    generate(min(16, prompt_length), 1)
    first_token_s = time.perf_counter() - start
    speeds = [generate(prompt_length, new_tokens + 1) for _ in range(repeats)]
    prefill, decode = (
        Speed(threads, 1, statistics.median(phase), min(phase), max(phase)) for phase in zip(*speeds, strict=True)
    )
    memory = Memory(
        peak_rss_bytes=_peak_rss_bytes(),
        weight_bytes=sum(file.size for file in checkpoint.files),
    )
    return _Run(backend.description, load_s, first_token_s, memory, prefill, decode)


def _peak_rss_bytes() -> int:
    """This process's greatest resident memory so far (VmHWM of proc(5))."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
