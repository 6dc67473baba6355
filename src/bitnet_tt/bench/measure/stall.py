"""How long running texts wait while the engine reads a prompt: the gaps between their tokens, as readers see them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import mean, median

import numpy as np

from bitnet_tt.backends.base import Backend
from bitnet_tt.bench.report.extra_results import Stall
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine, Request
from bitnet_tt.engine.channel import Delivery, ThreadChannel
from bitnet_tt.errors import BenchmarkError

TEXTS = 8
"""Texts that run if no batch was asked for."""

_LEAST_PROMPT_TOKENS = 16
"""A step reads at least this many tokens of a prompt; see `engine.pace`."""

_SPARE_TOKENS = 1024
"""Room for what a small model generates before this thread is woken."""


class Clock(ThreadChannel):
    """Notes when each token of a text comes.

    Attributes:
        times: Seconds of `time.perf_counter`, one for each token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def put(self, delivery: Delivery) -> None:
        """Note the time of the delivery's tokens, and pass it on."""
        now = time.perf_counter()
        self.times += [now for piece in delivery.pieces for _ in piece.token_ids]
        super().put(delivery)


def measure_stalls(
    backend: Backend,
    vocab_size: int,
    texts: Iterable[int],
    *,
    threads: int,
    context: int,
    prompt_length: int,
    new_tokens: int,
    repeats: int,
) -> tuple[Stall, ...]:
    """Return the stall of each number of texts. The engine has the defaults of `Engine`, and closes the backend.

    Args:
        backend: The model. It is closed at the end.
        vocab_size: Texts are random ids below this.
        texts: Numbers of texts that run while a prompt is read.
        threads: CPU threads, for the result.
        context: Tokens of each text before its first generated token.
        prompt_length: Tokens of the prompt.
        new_tokens: Tokens of each text without the prompt that are timed.
        repeats: How often a prompt is read.

    Raises:
        BenchmarkError: A text ended too early.
    """
    counts = tuple(texts)
    engine = Engine(
        backend,
        vocab_size=vocab_size,
        context_length=length(max(counts), context, prompt_length, new_tokens),
        max_batch_size=max(counts) + 1,
    )
    rng = np.random.default_rng(0)

    def submit(tokens: int, new: int) -> tuple[Request, Clock]:
        prompt = [int(token_id) for token_id in rng.integers(0, vocab_size, tokens)]
        clock = Clock()
        request = engine.request(prompt, GenerationConfig(max_new_tokens=new, ignore_eos=True), channel=clock)
        engine.submit(request)
        return request, clock

    def once(count: int) -> Gaps:
        running = [submit(context, engine.context_length - context) for _ in range(count)]
        for request, clock in running:
            _wait(request, clock, 1)
        _wait_for_more(running, new_tokens)
        begin = time.perf_counter()
        prompt, first = submit(prompt_length, 1)
        _wait(prompt, first, 1)
        _wait_for_more(running, 1)
        measured = Gaps([clock.times[:] for _, clock in running], new_tokens, begin, first.times[0])
        for request, clock in running:
            engine.cancel(request)
            while not clock.get().ended:
                pass
        return measured

    try:
        return tuple(
            _stall([once(count) for _ in range(repeats)], threads, count, context, prompt_length) for count in counts
        )
    finally:
        engine.close()
        engine.join()


def length(texts: int, context: int, prompt_length: int, new_tokens: int) -> int:
    """Return the room that the longest sequence needs, in tokens."""
    steps = -(-(texts * context + prompt_length) // _LEAST_PROMPT_TOKENS)
    return max(context, prompt_length) + 2 * new_tokens + steps + _SPARE_TOKENS


class Gaps:
    """The gaps between the tokens of running texts, before and while a prompt was read.

    Attributes:
        alone: The seconds between two tokens before the prompt came, of all texts.
        beside: The same of gaps that overlap the reading of the prompt.
        prompt_s: Seconds from handing the prompt in to its first token.
    """

    def __init__(self, times: Sequence[Sequence[float]], new_tokens: int, begin: float, end: float) -> None:
        """Take the times of each text's tokens, and when the prompt was handed in and its first token came."""
        before = [[one for one in text if one <= begin][-new_tokens - 1 :] for text in times]
        self.alone = [later - earlier for text in before for earlier, later in pairwise(text)]
        self.beside = [
            later - earlier for text in times for earlier, later in pairwise(text) if later > begin and earlier < end
        ]
        self.prompt_s = end - begin


def _stall(measured: Sequence[Gaps], threads: int, texts: int, context: int, prompt_length: int) -> Stall:
    beside = [gap for one in measured for gap in one.beside]
    return Stall(
        threads=threads,
        texts=texts,
        context=context,
        prompt_length=prompt_length,
        step_s=mean(gap for one in measured for gap in one.alone),
        step_beside_s=mean(beside),
        longest_gap_s=max(beside),
        prompt_s=median(one.prompt_s for one in measured),
    )


def _wait(request: Request, clock: Clock, count: int) -> None:
    """Wait until a text has `count` tokens."""
    while len(clock.times) < count:
        if clock.get().ended and len(clock.times) < count:
            raise request.error or BenchmarkError("a text ended before the measurement did; ask for fewer --new-tokens")


def _wait_for_more(running: Sequence[tuple[Request, Clock]], tokens: int) -> None:
    """Wait until each text has `tokens` more tokens than now."""
    counts = [len(clock.times) + tokens for _, clock in running]
    for (request, clock), count in zip(running, counts, strict=True):
        _wait(request, clock, count)
