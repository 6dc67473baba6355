"""Measure `bitnet-tt serve` beside the engine alone: `uv run python -m tools.server_overhead --help`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from tools.server_load.program import ServerProgram
from tools.server_overhead.measure import SERVER, Result, Server, measure
from tools.server_overhead.work import Work

_WIDTHS = (8, 10, 20, 20, 14, 12)
_NOTES = (
    "Medians of the rounds; in brackets, the least and the most. The client is a process of its own; client CPU is",
    "its part of the machine's CPU time, which the server cannot use then. The engine alone has no client.",
)


def server_overhead(
    streams: Annotated[list[int] | None, typer.Option(help="Streams at once; may be repeated. Default: 1, 32.")] = None,
    tokens: Annotated[int, typer.Option(help="New tokens of each stream.")] = 400,
    rounds: Annotated[int, typer.Option(help="How often each is measured.")] = 5,
    peer: Annotated[
        list[str] | None, typer.Option(help="NAME=URL of another server with OpenAI's API; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the demo model by `bitnet-tt serve`, by the engine alone, and by other servers.

    Example:
        uv run python -m tools.server_overhead --peer llama-server=http://127.0.0.1:8090
    """
    works = [Work(count, tokens) for count in streams or (1, 32)]
    options = ("--max-batch", str(max(work.streams for work in works)))
    peers = {name: Server(url) for name, url in (one.split("=", 1) for one in peer or ())}
    with tempfile.TemporaryDirectory() as folder, ServerProgram(Path(folder) / "log", options=options) as server:
        servers = {SERVER: Server(server.url, server.process.pid)} | peers
        results = measure(servers, works, rounds, progress=lambda step: typer.echo(step, err=True))
    typer.echo(json.dumps([asdict(one) for one in results], indent=2) if as_json else table(results))


def table(results: Sequence[Result]) -> str:
    """Return the results as text: medians, and the spread of the ratios."""
    headings = ("streams", "tokens/s", "ratio to serve", "first token ms", "CPU us/token", "client CPU")
    rows = [
        (
            str(one.work.streams),
            f"{median(one.tokens_per_s):,.0f}",
            _spread(one.speed_ratios, 2),
            _spread(one.first_token_ms, 1),
            f"{one.cpu_us_per_token:.0f}",
            f"{one.client_cpu_share:.0%}",
        )
        for one in results
    ]
    names = ["", *(one.program for one in results)]
    lines = [
        f"{name:16}" + "".join(f"{value:>{width}}" for value, width in zip(row, _WIDTHS, strict=True))
        for name, row in zip(names, [headings, *rows], strict=True)
    ]
    return "\n".join([*lines, "", *_NOTES])


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(server_overhead)

if __name__ == "__main__":
    app(prog_name="python -m tools.server_overhead")
