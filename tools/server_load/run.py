"""One run: learn the answers, warm up, load, compare what the server uses, then end and kill it under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tools.server_load.answers import IncompleteError, canonical
from tools.server_load.clients import EVERY_ANSWER, NO_SERVER_ERROR, Clients
from tools.server_load.program import ServerProgram, Usage
from tools.server_load.report import Report
from tools.server_load.requests import make_requests

NOTHING_LEFT = "after the load, the server uses what it used before"
DRAINS = "after SIGTERM, accepted requests are answered and the exit code is 0"

RSS_TOLERANCE_BYTES = 40_000_000
"""Memory may grow by this much between the end of the warm-up and the end of the load. A leak of 1 KB a request would
exceed it in ten minutes. Less cannot be asked for: the allocator keeps the pages of the largest requests so far (bodies
of 4 MiB, several at once), and which of them meet is chance."""

_LONG = {"model": "demo", "prompt": "Once", "max_tokens": 150, "ignore_eos": True, "n": 2, "seed": 1}
_DRAIN_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    Attributes:
        minutes: How long the load lasts. Warming up takes a fifth of it before.
        clients: How many clients there are at once.
        seed: Equal seeds give equal requests, and clients that choose equally.
        requests: How many different valid requests there are.
    """

    minutes: float = 10.0
    clients: int = 64
    seed: int = 1
    requests: int = 220


def run(options: Options, folder: Path, *, progress: Callable[[str], None] = lambda step: None) -> Report:
    """Run it all.

    Args:
        options: What to run.
        folder: Folder for the logs of the servers.
        progress: Called with the name of each step.
    """
    report = Report(asdict(options))
    log = folder / "server.log"
    with ServerProgram(log) as server:
        clients = Clients(server.url, make_requests(options.requests, options.seed), {}, report)
        progress("learning the answers")
        asyncio.run(clients.learn())
        report.compared = 0  # this was the first answer of each
        progress("warming up")
        asyncio.run(clients.warm_up(options.clients, options.minutes * 12, options.seed + 1))
        before = report.usage["warmed up"] = server.settle()
        progress("loading")
        started = time.monotonic()
        asyncio.run(clients.load(options.clients, options.minutes * 60, options.seed))
        report.load_seconds = time.monotonic() - started
        after = report.usage["after the load"] = server.settle(before)
        report.peak_rss_bytes = server.peak_rss_bytes()
        _check_usage(report, before, after)
        progress("ending under load")
        _drain(server, report)
    with ServerProgram(log) as server:
        progress("killing and restarting")
        asyncio.run(_restart(server, log, report))
    _check_log(log, report)
    return report


def _check_usage(report: Report, before: Usage, after: Usage) -> None:
    grown = after.rss_bytes - before.rss_bytes
    if grown > RSS_TOLERANCE_BYTES:
        report.breaks(NOTHING_LEFT, f"{grown / 1e6:.1f} MB more memory")
    for name in ("descriptors", "threads", "texts", "cache_ratio"):
        one, other = getattr(before, name), getattr(after, name)
        if other > one:
            report.breaks(NOTHING_LEFT, f"{name}: {one} before, {other} after")


def _drain(server: ServerProgram, report: Report) -> None:
    """Send SIGTERM while requests run and wait, and others arrive."""
    complete = asyncio.run(_end_under_load(server, report))
    started = report.drain.pop("sent at")
    code = server.wait()
    report.drain |= {"accepted": _DRAIN_CLIENTS, "complete": complete, "seconds": time.monotonic() - started}
    report.drain["exit code"] = code
    if code != 0 or complete != _DRAIN_CLIENTS:
        report.breaks(DRAINS, f"{complete} of {_DRAIN_CLIENTS} answers are complete, exit code {code}")


async def _end_under_load(server: ServerProgram, report: Report) -> int:
    """Return how many of the accepted requests were answered to the end."""
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=httpx.Limits()) as http:
        asked = [asyncio.create_task(_answered(http, stream=bool(n % 2))) for n in range(_DRAIN_CLIENTS)]
        while (await asyncio.to_thread(server.usage)).texts < 2 * _DRAIN_CLIENTS and not any(t.done() for t in asked):
            await asyncio.sleep(0)
        server.terminate()
        report.drain["sent at"] = time.monotonic()
        while not all(task.done() for task in asked):
            await _knock(http, report)
            await asyncio.sleep(0.02)
        return sum(task.result() for task in asked)


async def _answered(http: httpx.AsyncClient, *, stream: bool) -> bool:
    try:
        response = await http.post("/v1/completions", json=_LONG | {"stream": stream})
        canonical(response.text, stream=stream)
    except (httpx.HTTPError, IncompleteError):
        return False
    return response.status_code == 200


async def _knock(http: httpx.AsyncClient, report: Report) -> None:
    """Send a request to a server that ends: it is refused with 503, or nobody listens any more."""
    try:
        response = await http.post("/v1/completions", json=_LONG)
    except httpx.HTTPError:
        report.count("while draining", "no server")
        return
    report.count("while draining", response.status_code)
    if response.status_code not in (200, 503):  # 200 until the signal has arrived
        report.breaks(DRAINS, f"status {response.status_code} while draining")


async def _restart(server: ServerProgram, log: Path, report: Report) -> None:
    """Kill a server under load, and start another on its port."""
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as http:
        asked = [asyncio.create_task(_answered(http, stream=True)) for _ in range(_DRAIN_CLIENTS)]
        while (await asyncio.to_thread(server.usage)).texts == 0:
            await asyncio.sleep(0)
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*asked)
        started = time.monotonic()
        with await asyncio.to_thread(lambda: ServerProgram(log, port=server.port)) as again:
            report.restart["seconds to ready"] = time.monotonic() - started
            if not await _answered(http, stream=False):
                report.breaks(EVERY_ANSWER, "no answer after the restart")
            report.restart["seconds to the first answer"] = time.monotonic() - started
            again.terminate()
            await asyncio.to_thread(again.wait)


def _check_log(log: Path, report: Report) -> None:
    """Check that the servers logged no error."""
    for text in log.read_text().splitlines():
        if '"level": "error"' in text or not text.startswith("{"):
            line = json.loads(text) if text.startswith("{") else text
            report.breaks(NO_SERVER_ERROR, f"in the log: {str(line)[-1000:]}")
