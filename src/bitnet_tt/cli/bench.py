"""`bitnet-tt bench`: the speed and memory of a model on this machine, compared with the limits of the machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_tt.backends.options import Device
from bitnet_tt.cli.options import DEVICE_HELP, MODEL_HELP, HubOptions
from bitnet_tt.cli.output import print_table
from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.cli.streams import separate_output

if TYPE_CHECKING:
    from bitnet_tt.bench import BenchmarkResult, Settings
    from bitnet_tt.bench.report.table import Table


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The model to measure, and what to measure. `tools/compare` has the same options."""

    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo"
    synthetic: Annotated[
        str | None,
        typer.Option(
            metavar="SHAPE",
            help="Measure a random model of this shape instead: 2b4t, 0.7b, bonsai-1.7b, bonsai-4b, bonsai-8b, or one "
            "with other sizes, such as 2b4t,layers=4. If --cache-dir is given, the model is kept there.",
        ),
    ] = None
    isa: Annotated[str | None, typer.Option(help="Use this CPU instruction set (doctor lists them).")] = None
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Number of CPU threads. May be repeated. Default: 1, and one for each core.", min=1),
    ] = None
    batch: Annotated[
        list[int] | None, typer.Option(help="Number of texts to generate at once. May be repeated. Default: 1.", min=1)
    ] = None
    prompt_length: Annotated[int, typer.Option(help="Tokens of the prompt that is read.", min=1)] = 512
    context: Annotated[int, typer.Option(help="Tokens before the first generated token.", min=1)] = 128
    new_tokens: Annotated[int, typer.Option(help="Tokens that are generated.", min=1)] = 64
    repeats: Annotated[int, typer.Option(help="How often each phase is measured.", min=1)] = 3

    @property
    def name(self) -> str:
        """The name of the model for people."""
        return f"random {self.synthetic}" if self.synthetic else self.model

    def settings(self, device: Device) -> Settings:
        """Return what to measure. A value that was given twice is measured once."""
        from bitnet_tt.backends.cpu.host import physical_cores
        from bitnet_tt.bench import Settings

        return Settings(
            # A card computes the same with any number of CPU threads.
            threads=tuple(dict.fromkeys(self.threads or ([1] if device == "tt" else sorted({1, physical_cores()})))),
            batches=tuple(dict.fromkeys(self.batch or [1])),
            prompt_length=self.prompt_length,
            context=self.context,
            new_tokens=self.new_tokens,
            repeats=self.repeats,
            device=device,
            isa=self.isa,
        )

    @contextmanager
    def checkpoint(self, hub: HubOptions, *, tokenizer: bool = False) -> Iterator[tuple[Path, Path]]:
        """Yield the path of the model, and the folder for files that are made for the measurement.

        The folder is --cache-dir, or else a temporary one. A random model is made there if it does not exist yet; with
        `tokenizer`, also a random tokenizer for it.
        """
        from tempfile import TemporaryDirectory

        from bitnet_tt.bench.synthetic import synthetic_checkpoint, synthetic_config
        from bitnet_tt.bench.synthetic_tokenizer import add_tokenizer

        with TemporaryDirectory() as temporary:
            folder = hub.cache_dir or Path(temporary)
            if not self.synthetic:
                yield hub.resolve(self.model), folder
                return
            with progress_bar(f"Making a random {self.synthetic}", patience=0) as progress:
                path = synthetic_checkpoint(self.synthetic, folder, progress)
                if tokenizer:
                    add_tokenizer(path, synthetic_config(self.synthetic).vocab_size)
            yield path, folder


def bench(
    hub: HubOptions,
    options: BenchOptions,
    device: Annotated[Device, typer.Option(help=DEVICE_HELP)] = "auto",
    tdp_limit: Annotated[
        int | None,
        typer.Option(metavar="WATTS", help="Set the TDP limit of a Tenstorrent card first.", min=50, max=500),
    ] = None,
    busy: Annotated[
        int, typer.Option(metavar="N", help="Measure again while N other processes use the CPU.", min=0)
    ] = 0,
    sampling: Annotated[
        bool, typer.Option("--sampling", help="Measure generation with sampling settings as well.")
    ] = False,
    verify_rows: Annotated[
        bool,
        typer.Option(
            "--verify-rows",
            help="Measure steps with 2, 4 and 8 rows as well: of one text, as in verifying drafts, and of several "
            "texts. Context 128, and --context.",
        ),
    ] = False,
    stall: Annotated[
        bool,
        typer.Option(
            "--stall",
            help="Measure how long running texts wait while a prompt of --prompt-length is read as well. "
            "--batch sets their number; default: 8.",
        ),
    ] = False,
    start: Annotated[
        bool,
        typer.Option(
            "--start",
            help="Measure the time from the start of the program to its first token as well, for a prompt of 16 "
            "tokens. A random model gets a random tokenizer.",
        ),
    ] = False,
    head_entropy: Annotated[
        float | None,
        typer.Option(
            metavar="NATS",
            help="Scale the logits of the random model, so that its next token has about this entropy. A trained "
            "model has about 1 where it is sure, and 4 to 5 where it is not.",
            min=0.01,
            max=10.0,
        ),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show the time of each part of a step.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw tokens/s and their limits into this file.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model's speed and memory, and the limits of this machine.

    Each number of threads is measured in its own process. The read bandwidth
    and the int8 peak of the machine are measured before and after it.

    Examples:
        bitnet-tt bench
        bitnet-tt bench --synthetic 2b4t --cache-dir build/bench --profile
        bitnet-tt bench --synthetic 2b4t --sampling --head-entropy 1
        bitnet-tt bench --verify-rows --stall --start
        bitnet-tt bench --batch 1 --batch 8 --batch 32 --plot bench.png
    """
    from bitnet_tt.backends.tt.environment import limit_power
    from bitnet_tt.bench import run_benchmark
    from bitnet_tt.bench.measure.stall import TEXTS
    from bitnet_tt.bench.report import plot
    from bitnet_tt.bench.report.tables import tables

    if picture is not None:
        plot.check(picture)
    if head_entropy is not None and not options.synthetic:
        raise typer.BadParameter("--head-entropy needs --synthetic: it changes the weights")
    settings = replace(
        options.settings(device),
        busy=busy,
        sampling=sampling,
        verify_rows=verify_rows,
        stall=tuple(dict.fromkeys(options.batch or [TEXTS])) if stall else (),
        start=start,
        head_entropy=head_entropy,
    )
    if device == "tt":
        separate_output()
    if tdp_limit is not None:
        if device != "tt":
            raise typer.BadParameter("--tdp-limit needs --device tt")
        limit_power(tdp_limit)
    with options.checkpoint(hub, tokenizer=start) as (path, _), progress_bar("Measuring", patience=0) as progress:
        result = run_benchmark(path, settings, progress=progress)
    if picture is not None:
        plot.plot(options.name, result, picture)
    if as_json:
        print_json(options.name, result)
    else:
        print_tables(options.name, result, tables(result, profile=profile))


def print_json(name: str, result: BenchmarkResult, extra: Mapping[str, Any] | None = None) -> None:
    """Print the fields of a result as JSON, and then those of `extra`.

    `roofs` has the read bandwidth and int8 peak with the largest number of threads. Its field `by_threads` has all.
    """
    fields = {"model": name} | asdict(result)
    best = max(result.roofs, key=lambda roof: roof.threads, default=None)
    fields["roofs"] = {
        "read_gb_s": None if best is None else best.read_gb_s.median,
        "int8_gops": None if best is None else best.int8_gops.median,
        "by_threads": fields["roofs"],
    }
    typer.echo(json.dumps({**fields, **(extra or {})}, indent=2))


def print_tables(name: str, result: BenchmarkResult, tables: Iterable[Table]) -> None:
    """Print a heading and the tables of a benchmark."""
    from textwrap import fill

    typer.echo(f"{name} on {result.device}\n")
    for index, table in enumerate(tables):
        if index:
            typer.echo()
        if table.title:
            typer.echo(f"{table.title}\n")
        print_table(table.headings, table.rows, right=range(1, len(table.headings)) if table.title else ())
        if table.note:
            typer.echo(f"\n{fill(table.note, 80)}")
