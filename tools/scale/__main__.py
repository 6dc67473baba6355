"""Measure and torture `bitnet-tt scale`: `uv run python -m tools.scale --help`."""

from __future__ import annotations

from statistics import median
from typing import Annotated

import typer

from tools.scale.overhead import TOKENS, Speed, fleet_of, measure
from tools.scale.overhead import overhead as measure_overhead
from tools.scale.routing import routing as measure_routing
from tools.scale.soak import soak as run_soak

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

WorkersOption = Annotated[int, typer.Option(help="How many workers there are.")]
SeedOption = Annotated[int, typer.Option(help="Seed of all that is random.")]


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(help="How long.")] = 5.0,
    workers: WorkersOption = 3,
    streams: Annotated[int, typer.Option(help="Streams at once.")] = 8,
    pause: Annotated[float, typer.Option(help="Mean seconds between two events.")] = 4.0,
    seed: SeedOption = 0,
) -> None:
    """Kill, end and stop workers at random while streams run. The exit code is 1 if an answer is wrong or lost."""
    result = run_soak(60 * minutes, workers, streams, pause, seed)
    typer.echo(
        f"{result.answers} streams, {result.events} events, {result.moves} times a worker was passed over: "
        f"{len(result.wrong)} wrong, {len(result.lost)} lost; longest gap {result.max_gap:.2f} s"
    )
    for one in [*result.wrong, *result.lost]:
        typer.echo(repr(one), err=True)
    if result.wrong or result.lost:
        raise typer.Exit(1)


@app.command()
def routing(
    workers: WorkersOption = 4,
    prefixes: Annotated[int, typer.Option(help="Different prefixes.")] = 8,
    requests: Annotated[int, typer.Option(help="Prompts for each prefix.")] = 12,
    seed: SeedOption = 0,
) -> None:
    """Measure the share of prompt tokens that come from caches, beside servers that take turns."""
    shares = measure_routing(workers, prefixes, requests, seed)
    typer.echo(f"frontend {shares.fleet:.1%}, in turns {shares.turns:.1%}, at most {shares.most:.1%}")


@app.command()
def overhead(rounds: Annotated[int, typer.Option(help="Rounds of each, in turns.")] = 5) -> None:
    """Measure a frontend with one worker beside one server: first token, token, and tokens a second."""
    for streams in (1, 16):
        server, frontend = measure_overhead(streams, rounds)
        for name, speeds in (("server", server), ("frontend", frontend)):
            typer.echo(f"{streams:2} streams  {name:8}  {_line(speeds)}")


@app.command()
def capacity(
    step_ms: Annotated[float, typer.Option(help="Each step of a worker takes this much longer.")] = 20.0,
    streams: Annotated[int, typer.Option(help="Streams at once, for each worker.")] = 16,
    rounds: Annotated[int, typer.Option(help="Rounds for each number of workers.")] = 3,
) -> None:
    """Measure the tokens a second of 1, 2 and 4 workers of one thread."""
    for workers in (1, 2, 4):
        with fleet_of(workers, step_ms / 1000) as fleet:
            measure(fleet.url, streams * workers)
            before = fleet.frontend.cpu_seconds
            speeds = [measure(fleet.url, streams * workers) for _ in range(rounds)]
            used = (fleet.frontend.cpu_seconds - before) / (rounds * streams * workers * TOKENS)
        line = f"{workers} workers, {streams * workers:2} streams  {_line(speeds)}"
        typer.echo(f"{line}   frontend CPU {used * 1e6:.0f} us a token")


def _line(speeds: list[Speed]) -> str:
    first, token = median(one.first_token for one in speeds), median(one.token for one in speeds)
    rates = sorted(one.tokens_per_second for one in speeds)
    return (
        f"first token {first:7.1f} ms   token {token:6.2f} ms   "
        f"{median(rates):7.0f} tokens/s ({rates[0]:.0f} to {rates[-1]:.0f})"
    )


app()
