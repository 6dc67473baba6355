"""`bitnet-tt export`: write a model as programs for compilers and other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar


def export(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    target: Annotated[Path, typer.Argument(help="The folder to write.", metavar="OUT")],
    to: Annotated[
        Literal["torch-export", "stablehlo"],
        typer.Option(help="PyTorch's .pt2 files, or StableHLO as text and bytecode."),
    ],
    hub: HubOptions,
    batch: Annotated[int, typer.Option(help="Number of texts that the programs compute together.")] = 1,
    max_length: Annotated[
        int | None,
        typer.Option(help="Maximum number of tokens of a text: the size of the cache. Default: the model's limit."),
    ] = None,
    prompt_length: Annotated[int, typer.Option(help="Number of tokens that prefill reads.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    masters: Annotated[
        bool,
        typer.Option(
            "--masters", help="MODEL holds float weights that were trained with BitNet's quantisation: quantise them."
        ),
    ] = False,
) -> None:
    """Write a model as programs for compilers and other runtimes.

    OUT gets two programs of static shapes: prefill reads prompts, step continues
    them by one token; the KV cache goes in and comes out. export.json describes
    them, and the tokenizer is beside it. OUT appears only when it is complete.

    Needs the extra torch, and for StableHLO the extra stablehlo.

    Examples:
        bitnet-tt export demo out --to torch-export
        bitnet-tt export microsoft/bitnet-b1.58-2B-4T out --to stablehlo --max-length 2048
    """
    from bitnet_tt.pytorch import BitNet
    from bitnet_tt.pytorch.export import DESCRIPTION
    from bitnet_tt.pytorch.export import export as write

    path = hub.resolve(model)
    with progress_bar(f"Loading {model}") as progress:
        module = BitNet.from_pretrained(path, batch=batch, max_length=max_length, masters=masters, progress=progress)
    notes = write(module, target, to, prompt_length=prompt_length, tokenizer=path, overwrite=overwrite)
    print_notes(notes)
    typer.echo(f"Wrote {target}: {DESCRIPTION} describes it", err=True)
