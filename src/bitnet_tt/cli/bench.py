"""`bitnet-tt bench`: how fast a model runs here, and in how much memory."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import describe_bytes, print_table
from bitnet_tt.cli.progress import progress_bar

if TYPE_CHECKING:
    from bitnet_tt.bench import BenchmarkResult, Speed


def bench(
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    synthetic: Annotated[
        Literal["2b4t", "0.7b"] | None,
        typer.Option(help="Measure a random model of this shape instead; it is kept in --cache-dir, if given."),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "tt"], typer.Option(help="What to run on.")] = "auto",
    isa: Annotated[str | None, typer.Option(help="Force a CPU instruction set (see doctor).")] = None,
    threads: Annotated[
        list[int] | None, typer.Option(help="CPU threads; can be given again. Default: 1 and all cores.", min=1)
    ] = None,
    prompt_length: Annotated[int, typer.Option(help="Tokens of the prompt that is read.", min=1)] = 512,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are generated.", min=1)] = 64,
    repeats: Annotated[int, typer.Option(help="Times each phase is measured.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure loading, prompt reading, generation and memory.

    Each number of threads is measured in a process of its own.

    Examples:
        bitnet-tt bench --prompt-length 128
        bitnet-tt bench --synthetic 2b4t --cache-dir build/bench
    """
    from bitnet_tt.backends.cpu.host import physical_cores
    from bitnet_tt.bench import run_benchmark

    with ExitStack() as stack:
        path = _synthetic(synthetic, hub.cache_dir, stack) if synthetic else hub.resolve(model)
        progress = stack.enter_context(progress_bar("Measuring", patience=0))
        result = run_benchmark(
            path,
            device=device,
            threads=threads or sorted({1, physical_cores()}),
            prompt_length=prompt_length,
            new_tokens=new_tokens,
            repeats=repeats,
            isa=isa,
            progress=progress,
        )
    name = f"random {synthetic}" if synthetic else model
    if as_json:
        typer.echo(json.dumps({"model": name} | asdict(result), indent=2))
    else:
        _print(name, result)


def _synthetic(shape: str, cache: Path | None, stack: ExitStack) -> Path:
    """The folder of a random model, made if it is not there yet."""
    from tempfile import TemporaryDirectory

    from bitnet_tt.bench.synthetic import synthetic_config, synthetic_weights
    from bitnet_tt.checkpoint.convert import save_packed

    folder = cache or Path(stack.enter_context(TemporaryDirectory()))
    target = folder / f"synthetic-{shape}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        config = synthetic_config(shape)
        with progress_bar(f"Making {target.name}", patience=0) as progress:
            progress(0, 1)
            save_packed(config, synthetic_weights(config), target, progress=progress)
    return target


def _print(name: str, result: BenchmarkResult) -> None:
    peak, weights = (describe_bytes(size) for size in (result.memory.peak_rss_bytes, result.memory.weight_bytes))
    typer.echo(f"{name} on {result.device}\n")
    print_table(
        ["", ""],
        [
            ("Load", f"{result.load_s:.2f} s, all weights checked"),
            ("First token", f"{result.first_token_s:.2f} s after opening the files"),
            ("Peak memory", f"{peak}; the files of the weights have {weights}"),
        ],
    )
    typer.echo("\nTokens per second: median (least to greatest)\n")
    print_table(
        ["Threads", f"Prompt of {result.prompt_length}", f"Generation of {result.new_tokens}"],
        [
            (prefill.threads, _speed(prefill), _speed(decode))
            for prefill, decode in zip(result.prefill, result.decode, strict=True)
        ],
        right=(0,),
    )


def _speed(speed: Speed) -> str:
    return f"{speed.tokens_per_s:,.1f} ({speed.least:,.1f} to {speed.greatest:,.1f})"
