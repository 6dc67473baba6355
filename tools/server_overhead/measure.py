"""Measure the engine alone and servers by turns, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine
from tools.server_load.program import cpu_seconds
from tools.server_overhead.work import PROMPT, Run, Work

ENGINE = "engine alone"
SERVER = "bitnet-tt serve"


@dataclass(frozen=True, slots=True)
class Server:
    """A server with OpenAI's completions that serves a model by the name `demo`.

    Attributes:
        url: Its address.
        process: The id of its process, to read its CPU time; None does not read it.
    """

    url: str
    process: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The rounds of one program with one number of streams.

    Attributes:
        program: `ENGINE`, `SERVER`, or the name of another server.
        work: What was measured.
        tokens_per_s: The speed of all streams together, in each round.
        speed_ratios: The speed divided by that of `SERVER` in the same round.
        first_token_ms: The median over the streams, in each round, in milliseconds.
        cpu_us_per_token: CPU time of the program for each token, in microseconds; 0 if it was not read.
        client_cpu_share: The client's part of the machine's CPU time.
    """

    program: str
    work: Work
    tokens_per_s: tuple[float, ...]
    speed_ratios: tuple[float, ...]
    first_token_ms: tuple[float, ...]
    cpu_us_per_token: float
    client_cpu_share: float


async def run_engine(engine: AsyncEngine, prompt: Sequence[int], work: Work) -> Run:
    """Generate with the engine alone, in this process."""

    async def read(seed: int) -> float:
        config = GenerationConfig(max_new_tokens=work.tokens, temperature=1.0, seed=seed, ignore_eos=True)
        begun = time.perf_counter()
        first = 0.0
        async for piece in engine.stream(prompt, config):
            if not first and piece.text:
                first = time.perf_counter() - begun
        return first

    started, cpu = time.perf_counter(), time.process_time()
    firsts = await asyncio.gather(*(read(seed) for seed in range(work.streams)))
    return Run(time.perf_counter() - started, tuple(firsts), program_cpu_seconds=time.process_time() - cpu)


def run_client(server: Server, work: Work) -> Run:
    """Read the streams of a server, by a process of its own.

    Raises:
        CalledProcessError: The server did not give the streams; the client has said why.
    """
    command = [sys.executable, "-m", "tools.server_overhead.client", server.url, str(work.streams), str(work.tokens)]
    before = _cpu_seconds(server)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    fields = json.loads(done.stdout)
    return Run(
        seconds=fields["seconds"],
        first_token_seconds=tuple(fields["first_token_seconds"]),
        client_cpu_seconds=fields["client_cpu_seconds"],
        program_cpu_seconds=_cpu_seconds(server) - before,
    )


def _cpu_seconds(server: Server) -> float:
    return 0.0 if server.process is None else cpu_seconds(server.process)


def measure(
    servers: Mapping[str, Server],
    works: Sequence[Work],
    rounds: int,
    *,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Result]:
    """Measure everything in turn, `rounds` times, after a round that does not count.

    Args:
        servers: The servers by their names; `SERVER` among them.
        works: What to measure.
        rounds: How often.
        progress: Called before each round with its name.
    """
    results: list[Result] = []
    with BitNetModel.from_pretrained("demo", max_batch_size=max(work.streams for work in works)) as model:
        prompt = model.tokenizer.encode(PROMPT)
        for work in works:
            runs: dict[str, list[Run]] = {name: [] for name in (ENGINE, *servers)}
            for number in range(rounds + 1):
                progress(f"{work.streams} streams, round {number} of {rounds}")
                for name, taken in runs.items():
                    if name == ENGINE:
                        taken.append(asyncio.run(run_engine(AsyncEngine(model.engine), prompt, work)))
                    else:
                        taken.append(run_client(servers[name], work))
            results += _results(work, {name: taken[1:] for name, taken in runs.items()})
    return results


def _results(work: Work, runs: Mapping[str, Sequence[Run]]) -> list[Result]:
    cores = len(os.sched_getaffinity(0))
    total = work.streams * work.tokens
    return [
        Result(
            program=name,
            work=work,
            tokens_per_s=tuple(total / run.seconds for run in taken),
            speed_ratios=tuple(ours.seconds / run.seconds for run, ours in zip(taken, runs[SERVER], strict=True)),
            first_token_ms=tuple(1000 * median(run.first_token_seconds) for run in taken),
            cpu_us_per_token=median(1e6 * run.program_cpu_seconds / total for run in taken),
            client_cpu_share=median(run.client_cpu_seconds / run.seconds / cores for run in taken),
        )
        for name, taken in runs.items()
    ]
