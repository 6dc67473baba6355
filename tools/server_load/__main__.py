"""Put load on `bitnet-tt serve`: `uv run python -m tools.server_load --help`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tools.server_load.run import Options, run

_DEFAULT = Options()


def server_load(
    minutes: Annotated[float, typer.Option(help="How long the load lasts.")] = _DEFAULT.minutes,
    clients: Annotated[int, typer.Option(help="Clients at once.")] = _DEFAULT.clients,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal requests.")] = _DEFAULT.seed,
    requests: Annotated[int, typer.Option(help="How many different valid requests.")] = _DEFAULT.requests,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put load on `bitnet-tt serve --model demo`, and check its promises.

    The exit code is 1 if a promise was broken.

    Example:
        uv run python -m tools.server_load --minutes 10 --clients 64
    """
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            Options(minutes, clients, seed, requests), Path(folder), progress=lambda step: typer.echo(step, err=True)
        )
    typer.echo(report.as_json() if as_json else report.as_text())
    if report.broken_counts:
        raise typer.Exit(1)


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(server_load)

if __name__ == "__main__":
    app(prog_name="python -m tools.server_load")
