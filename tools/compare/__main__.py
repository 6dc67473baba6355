"""Measure BitNet-TT and llama.cpp: `uv run python -m tools.compare --help`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from bitnet_tt.bench import run_benchmark
from bitnet_tt.bench.report.tables import tables
from bitnet_tt.cli.bench import BenchOptions, print_json, print_tables
from bitnet_tt.cli.errors import exit_on_errors
from bitnet_tt.cli.options import HubOptions, expand
from bitnet_tt.cli.progress import progress_bar
from tools.compare.peer_table import peer_table
from tools.compare.peers import check_installed, measure_peer


def compare(
    hub: HubOptions,
    options: BenchOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure BitNet-TT as `bitnet-tt bench` does, then llama.cpp.

    Both run on the CPU with the same weights, lengths, batches and threads.
    llama-cpp-python must be installed: see tools/compare/README.md.

    Example:
        uv run python -m tools.compare --synthetic 2b4t --cache-dir build/bench
    """
    with exit_on_errors():
        check_installed()
        settings = options.settings("cpu")
        with options.checkpoint(hub) as (path, folder):
            with progress_bar("Measuring BitNet-TT", patience=0) as progress:
                result = run_benchmark(path, settings, progress=progress)
            with progress_bar("Measuring llama.cpp", patience=0) as progress:
                peers = measure_peer(path, settings, result.roofs, folder=folder, progress=progress)
        if as_json:
            print_json(options.name, result, {"peers": [asdict(peer) for peer in peers]})
        else:
            print_tables(options.name, result, [*tables(result), peer_table(result, peers)])


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(expand(compare))

if __name__ == "__main__":
    app(prog_name="python -m tools.compare")
