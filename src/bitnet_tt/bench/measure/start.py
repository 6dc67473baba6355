"""The time from the start of the program to its first token, each time in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bitnet_tt.backends.options import Device
from bitnet_tt.bench.report.extra_results import Start
from bitnet_tt.bench.report.results import Spread
from bitnet_tt.errors import BenchmarkError
from bitnet_tt.tokenizer import Tokenizer

PROMPT_TOKENS = 16

_WORDS = "Once upon a time there was a small bear who lived in an old tree near the river "
_COMMAND = "from bitnet_tt.cli import main; main()"
"""What the program `bitnet-tt` runs."""


def measure_start(
    model: Path, threads: Sequence[int], *, device: Device, isa: str | None, repeats: int
) -> tuple[Start, ...]:
    """Return the time to the first token of `bitnet-tt generate`, for each number of threads.

    The first process is not counted: it brings the files into the page cache. The numbers of threads take turns.

    Args:
        model: A checkpoint with a tokenizer.
        threads: Numbers of CPU threads.
        device: As for `BitNetModel.from_pretrained`.
        isa: Likewise.
        repeats: How often each number of threads is measured.

    Raises:
        BenchmarkError: The program failed; the message ends with the last line of its standard error.
        TokenizerError: The model has no tokenizer.
    """
    prompt, tokens = prompt_of(Tokenizer.from_path(model))

    def once(number: int) -> _Launch:
        options = ["--model", str(model), "--device", device, "--threads", str(number)]
        return _launch([prompt, *options, *(["--isa", isa] if isa else [])])

    once(threads[0])
    launches: dict[int, list[_Launch]] = {number: [] for number in threads}
    for _ in range(repeats):
        for number in threads:
            launches[number].append(once(number))
    return tuple(_start(number, tokens, launches[number]) for number in threads)


def prompt_of(tokenizer: Tokenizer) -> tuple[str, int]:
    """Return a text of 16 tokens and the number of its tokens, which is larger if no text has exactly 16."""
    counted = ((text, len(tokenizer.encode(text))) for text in _beginnings())
    return next((text, tokens) for text, tokens in counted if tokens >= PROMPT_TOKENS)


def _beginnings() -> Iterator[str]:
    """Yield the beginnings of an endless text, each one character longer."""
    for length in count(1):
        yield (_WORDS * (length // len(_WORDS) + 1))[:length]


@dataclass(frozen=True, slots=True)
class _Launch:
    """The times of one process, in seconds."""

    seconds: float
    load: float
    tokenizer: float
    weights: float
    first_step: float


def _launch(arguments: Sequence[str]) -> _Launch:
    command = [
        sys.executable,
        "-c",
        _COMMAND,
        "generate",
        *arguments,
        "--max-new-tokens",
        "1",
        "--ignore-eos",
        "--json",
    ]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        seconds = time.perf_counter() - begin
        output, errors = process.communicate()
    if process.returncode != 0:
        last_line = errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise BenchmarkError(f"bitnet-tt generate failed: {last_line[0]}")
    result: dict[str, Any] = json.loads(first + output)
    load = result["load_times"]
    return _Launch(
        seconds=seconds,
        load=load["seconds"],
        tokenizer=load["tokenizer_seconds"],
        weights=load["weights_seconds"],
        first_step=result["timings"]["first_token_seconds"],
    )


def _start(threads: int, prompt_tokens: int, launches: Sequence[_Launch]) -> Start:
    whole = Spread.of(one.seconds for one in launches)
    return Start(
        threads=threads,
        prompt_tokens=prompt_tokens,
        seconds=whole.median,
        least=whole.least,
        greatest=whole.greatest,
        import_s=median(one.seconds - one.load - one.first_step for one in launches),
        load_s=median(one.load for one in launches),
        tokenizer_s=median(one.tokenizer for one in launches),
        weights_s=median(one.weights for one in launches),
        first_step_s=median(one.first_step for one in launches),
    )
