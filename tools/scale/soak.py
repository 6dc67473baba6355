"""Streams without end, while workers are killed, stopped and ended at random: each must be that of one model."""

from __future__ import annotations

import random
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bitnet_tt import BitNetModel
from tools.scale.fleet import Answer, Fleet, Program
from tools.scale.requests import answer_of, random_request

_EVENTS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
_STOPPED_SECONDS = 4.0
_STEP_SECONDS = 0.01


@dataclass
class Result:
    """What a soak saw.

    Attributes:
        answers: Streams that ended.
        wrong: Requests whose text, usage or finish reason was not that of one model.
        lost: Requests that ended in an error.
        events: How many workers were killed, ended or stopped.
        moves: How often the frontend passed over a worker.
        max_gap: The longest time between two events of a stream, in seconds.
    """

    answers: int = 0
    wrong: list[object] = field(default_factory=list)
    lost: list[object] = field(default_factory=list)
    events: int = 0
    moves: int = 0
    max_gap: float = 0.0


def soak(seconds: float, workers: int, streams: int, pause: float, seed: int) -> Result:
    """Run a fleet of the demo model for some time.

    Args:
        seconds: How long.
        workers: How many workers there are; one that ends is replaced at once.
        streams: How many streams run at once.
        pause: The mean time between two events, in seconds.
        seed: Of the requests, and of the times and kinds of the events.
    """
    result, lock = Result(), threading.Lock()
    end = time.monotonic()

    def read(number: int) -> None:
        numbers = random.Random(seed * 1000 + number)
        while time.monotonic() < end:
            request = random_request(numbers, 120)
            got, expected = fleet.stream("/v1/completions", request), answer_of(model, request)
            with lock:
                result.answers += 1
                result.max_gap = max(result.max_gap, got.max_gap)
                if got.error is not None:
                    result.lost.append((request, got.error))
                elif _facts(got) != _facts(expected):
                    result.wrong.append((request, got, expected))

    with (
        tempfile.TemporaryDirectory() as folder,
        BitNetModel.from_pretrained("demo", threads=1) as model,
        ThreadPoolExecutor(streams) as pool,
    ):
        fleet = Fleet(Path(folder), _STEP_SECONDS)
        try:
            fleet.start(workers)
            fleet.wait_for_members(workers)
            end = time.monotonic() + seconds
            reading = [pool.submit(read, number) for number in range(streams)]
            _disturb(fleet, random.Random(seed), pause, end, result)
            for one in reading:
                one.result()
            result.moves = fleet.passed_over()
        finally:
            fleet.end()
    return result


def _facts(answer: Answer) -> tuple[object, ...]:
    return answer.text, answer.usage, answer.finish_reason


def _disturb(fleet: Fleet, numbers: random.Random, pause: float, end: float, result: Result) -> None:
    """End or stop workers at random times. At least one other worker serves at each of them."""
    while (wait := numbers.expovariate(1 / pause)) < end - time.monotonic():
        time.sleep(wait)
        fleet.wait_for_members(2)
        serving: list[Program] = [one for one in fleet.workers if one.serves]
        victim, number = numbers.choice(serving), numbers.choice(_EVENTS)
        victim.send(number)
        result.events += 1
        if number == signal.SIGSTOP:
            time.sleep(min(_STOPPED_SECONDS, max(end - time.monotonic(), 0.0)))
            victim.send(signal.SIGCONT)
        else:
            victim.process.wait(30)
            fleet.start(wait=False)
