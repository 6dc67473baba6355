"""What a frontend costs beside one server, and how many tokens a second more workers give."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from tools.scale.fleet import COMMAND, Fleet, Program

TOKENS = 200


@dataclass(frozen=True, slots=True)
class Speed:
    """The medians over the streams of a round.

    Attributes:
        first_token: Time to the first token, in milliseconds.
        token: Time of each further token, in milliseconds.
        tokens_per_second: All tokens of all streams, by the time of the round.
    """

    first_token: float
    token: float
    tokens_per_second: float


def overhead(streams: int, rounds: int) -> tuple[list[Speed], list[Speed]]:
    """Measure `bitnet-tt serve`, and a frontend with one worker, in turns: the machine may have other work.

    Returns:
        The rounds of the server, and those of the frontend.
    """
    server = Program([*COMMAND, "serve", "--port", "0", "--threads", "1", "--max-batch", "16"])
    try:
        with fleet_of(1) as fleet:
            urls = (server.wait_for(r"^Ready: (\S+)").group(1), fleet.url)
            for url in urls:
                measure(url, streams)  # warm
            pairs = [(measure(urls[0], streams), measure(urls[1], streams)) for _ in range(rounds)]
    finally:
        server.end()
    return [one for one, _ in pairs], [other for _, other in pairs]


@contextmanager
def fleet_of(workers: int, step_seconds: float = 0.0) -> Iterator[Fleet]:
    """Run a fleet of single-threaded workers with batches of 16."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), step_seconds)
        try:
            fleet.start(workers, "--max-batch", "16")
            fleet.wait_for_members(workers)
            yield fleet
        finally:
            fleet.end()


def measure(url: str, streams: int) -> Speed:
    """Read some streams at once."""
    with ThreadPoolExecutor(streams) as pool:
        began = time.perf_counter()
        times = list(pool.map(lambda number: _stream(url, number), range(streams)))
        seconds = time.perf_counter() - began
    return Speed(
        first_token=1000 * median(first for first, _ in times),
        token=1000 * median((last - first) / (TOKENS - 1) for first, last in times),
        tokens_per_second=streams * TOKENS / seconds,
    )


def _stream(url: str, number: int) -> tuple[float, float]:
    """Return the times of the first and the last text of a stream, in seconds from the request."""
    body = {"model": "demo", "prompt": [30 + number, 40, 50], "max_tokens": TOKENS, "stream": True, "ignore_eos": True}
    began, first = time.perf_counter(), 0.0
    with httpx.stream("POST", url + "/v1/completions", json=body, timeout=120) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                first = first or time.perf_counter()
                assert "error" not in json.loads(line[6:])
    return first - began, time.perf_counter() - began
