"""Measure other programs by their own `llama-bench`: that of ik_llama.cpp, and that of bitnet.cpp.

Both are forks of llama.cpp. We build neither: the caller gives the program, and a model file in the fork's own format.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_tt.bench import Settings
from bitnet_tt.bench.report.results import Speed, Spread
from bitnet_tt.errors import BenchmarkError
from tools.compare.peers import PeerResult

_NANO = 1e-9


@dataclass(frozen=True, slots=True)
class LlamaBench:
    """A `llama-bench` and the model that it measures.

    Attributes:
        name: The project, for the report.
        program: The program.
        model: A GGUF file that the program can load.
        after_context: Whether it can time generation after a prompt (its option `-gp`). Otherwise it times generation
            from an empty text, which takes less time for each token.
    """

    name: str
    program: Path
    model: Path
    after_context: bool

    def check(self) -> None:
        """Check that the files exist. Call this before the measurement, which takes minutes.

        Raises:
            BenchmarkError: A file is missing, or the program may not be run.
        """
        if not self.model.is_file():
            raise BenchmarkError(f"{self.name}: there is no model {self.model}; give a GGUF file in its own format")
        if not (self.program.is_file() and os.access(self.program, os.X_OK)):
            raise BenchmarkError(f"{self.name}: {self.program} is not a program; give its llama-bench")

    def command(self, settings: Settings, threads: int) -> list[str]:
        """Return the command that times a prompt, and generation, with one number of threads."""
        generation = (
            ["-n", "0", "-gp", f"{settings.context},{settings.new_tokens}"]
            if self.after_context
            else ["-n", str(settings.new_tokens)]
        )
        common = ["-m", str(self.model), "-t", str(threads), "-r", str(settings.repeats), "-ngl", "0", "-o", "json"]
        return [str(self.program), *common, "-p", str(settings.prompt_length), *generation]


def measure_llama_bench(
    bench: LlamaBench, settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[PeerResult, ...]:
    """Return what a `llama-bench` measures, one result for each number of threads. It generates one text at a time.

    Args:
        bench: The program.
        settings: What to measure.
        progress: Called with the number of finished runs and the number of all runs.

    Raises:
        BenchmarkError: The program failed, or its output is not that of a llama-bench.
    """
    results: list[PeerResult] = []
    for threads in settings.threads:
        progress(len(results), len(settings.threads))
        output, peak_rss_bytes = _run(bench, bench.command(settings, threads))
        results.append(parse(bench, output, settings, threads, peak_rss_bytes))
    return tuple(results)


def parse(bench: LlamaBench, output: str, settings: Settings, threads: int, peak_rss_bytes: int) -> PeerResult:
    """Return the result that `-o json` printed: a list with an object for each test.

    The times are in `samples_ns`, one for each repeat. The tests differ in `n_prompt` and `n_gen`.

    Raises:
        BenchmarkError: It is not that output, or a test is missing.
    """
    start = output.find("[\n")  # some builds print a line about the processor before it
    try:
        tests = json.loads(output[max(start, 0) :])
        prefill = _speed(_find(tests, settings.prompt_length, 0), settings.prompt_length, threads)
        before = settings.context if bench.after_context else 0
        decode = _speed(_find(tests, before, settings.new_tokens), settings.new_tokens, threads)
        first = tests[0]
        return PeerResult(
            name=bench.name,
            version=str(first["build_commit"]),
            format=str(first["model_type"]),
            weight_bytes=int(first["model_size"]),
            load_s=None,
            peak_rss_bytes=peak_rss_bytes,
            prefill=prefill,
            decode=(decode,) if 1 in settings.batches else (),
        )
    except (ValueError, LookupError, TypeError) as error:
        message = f"{bench.name}: {bench.program} printed no result of a llama-bench ({error!r}); is it one?"
        raise BenchmarkError(message) from error


def _find(tests: Sequence[dict[str, Any]], prompt: int, generated: int) -> dict[str, Any]:
    return next((test for test in tests if (test["n_prompt"], test["n_gen"]) == (prompt, generated)), {})


def _speed(test: dict[str, Any], tokens: int, threads: int) -> Speed:
    rates = Spread.of(tokens / (nanoseconds * _NANO) for nanoseconds in test["samples_ns"])
    return Speed(threads, 1, rates.median, rates.least, rates.greatest)


def _run(bench: LlamaBench, command: Sequence[str]) -> tuple[str, int]:
    """Run a command; return its output, and the peak of its memory in bytes."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            raise BenchmarkError(f"{bench.name}: {bench.program} cannot be run: {error.strerror}") from error
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise BenchmarkError(f"{bench.name} failed: {lines[-1] if lines else f'exit code {process.returncode}'}")
    return output, usage.ru_maxrss * 1024
