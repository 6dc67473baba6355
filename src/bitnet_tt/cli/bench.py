"""`bitnet-tt bench`: how fast a model runs here, in how much memory, and what the machine allows."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import print_table
from bitnet_tt.cli.progress import progress_bar

if TYPE_CHECKING:
    from bitnet_tt.bench import BenchmarkResult


def bench(
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    synthetic: Annotated[
        str | None,
        typer.Option(
            metavar="SHAPE",
            help="Measure a random model instead: 2b4t, 0.7b, or one with other sizes, as 2b4t,layers=4. "
            "It is kept in --cache-dir, if given.",
        ),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "tt"], typer.Option(help="What to run on.")] = "auto",
    isa: Annotated[str | None, typer.Option(help="Force a CPU instruction set (see doctor).")] = None,
    threads: Annotated[
        list[int] | None, typer.Option(help="CPU threads; can be given again. Default: 1 and all cores.", min=1)
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Texts to generate at once; can be given again. Default: 1.", min=1)
    ] = None,
    prompt_length: Annotated[int, typer.Option(help="Tokens of the prompt that is read.", min=1)] = 512,
    context: Annotated[int, typer.Option(help="Tokens before the first that is generated.", min=1)] = 128,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are generated.", min=1)] = 64,
    repeats: Annotated[int, typer.Option(help="Times each phase is measured.", min=1)] = 3,
    busy: Annotated[
        int, typer.Option(metavar="N", help="Measure again beside N processes that take all the time they get.", min=0)
    ] = 0,
    compare: Annotated[
        Literal["llama-cpp-python"] | None,
        typer.Option(help="Measure this program on the same shape; it has to be installed."),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show where a step's time goes.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw tokens/s and limits into this file.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure prompt reading, generation and memory, and what the machine allows.

    Each number of threads is measured in a process of its own. The machine's
    read bandwidth and int8 peak are measured before and after it.

    Examples:
        bitnet-tt bench
        bitnet-tt bench --synthetic 2b4t --cache-dir build/bench --profile
        bitnet-tt bench --batch 1 --batch 8 --batch 32 --plot bench.png
    """
    from tempfile import TemporaryDirectory

    from bitnet_tt.backends.cpu.host import physical_cores
    from bitnet_tt.bench import Settings, run_benchmark
    from bitnet_tt.bench.report import plot
    from bitnet_tt.bench.synthetic import synthetic_checkpoint

    if picture is not None:
        plot.check(picture)
    settings = Settings(
        threads=tuple(dict.fromkeys(threads or sorted({1, physical_cores()}))),
        batches=tuple(dict.fromkeys(batch or [1])),
        prompt_length=prompt_length,
        context=context,
        new_tokens=new_tokens,
        repeats=repeats,
        busy=busy,
        device=device,
        isa=isa,
    )
    with ExitStack() as stack:
        folder = hub.cache_dir or Path(stack.enter_context(TemporaryDirectory()))
        if synthetic:
            with progress_bar(f"Making a random {synthetic}", patience=0) as making:
                path = synthetic_checkpoint(synthetic, folder, making)
        else:
            path = hub.resolve(model)
        measuring = stack.enter_context(progress_bar("Measuring", patience=0))
        result = run_benchmark(path, settings, compare=compare, folder=folder, progress=measuring)
    name = f"random {synthetic}" if synthetic else model
    if picture is not None:
        plot.plot(name, result, picture)
    if as_json:
        typer.echo(json.dumps({"model": name} | _json(result), indent=2))
    else:
        _print(name, result, profile=profile)


def _json(result: BenchmarkResult) -> dict[str, Any]:
    """The result's fields; the roofs of the most threads come also as two numbers."""
    fields = asdict(result)
    best = max(result.roofs, key=lambda roof: roof.threads, default=None)
    fields["roofs"] = {
        "read_gb_s": None if best is None else best.read_gb_s.median,
        "int8_gops": None if best is None else best.int8_gops.median,
        "by_threads": fields["roofs"],
    }
    return fields


def _print(name: str, result: BenchmarkResult, *, profile: bool) -> None:
    from textwrap import fill

    from bitnet_tt.bench.report.tables import tables

    typer.echo(f"{name} on {result.device}\n")
    for index, table in enumerate(tables(result, profile=profile)):
        if index:
            typer.echo()
        if table.title:
            typer.echo(f"{table.title}\n")
        print_table(table.headings, table.rows, right=range(1, len(table.headings)) if table.title else ())
        if table.note:
            typer.echo(f"\n{fill(table.note, 80)}")
