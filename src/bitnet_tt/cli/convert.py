"""`bitnet-tt convert`: write a model in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar


def convert(
    source: Annotated[str, typer.Argument(help=MODEL_HELP, metavar="IN")],
    target: Annotated[Path, typer.Argument(help="The folder (packed) or .gguf file to write.", metavar="OUT")],
    to: Annotated[
        Literal["packed", "gguf-i2s", "gguf-q2_0"],
        typer.Option(
            help="A Hugging Face folder of packed safetensors, or a GGUF file that bitnet.cpp reads (I2_S), or one "
            "with a scale for each group of weights (Ternary-Bonsai)."
        ),
    ],
    hub: HubOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    masters: Annotated[
        bool,
        typer.Option(
            "--masters", help="IN holds float weights that were trained with BitNet's quantisation: quantise them."
        ),
    ] = False,
) -> None:
    """Write a model and its tokenizer in another format.

    OUT appears only when it is complete.

    Examples:
        bitnet-tt convert ./my-finetune ./my-finetune-packed --to packed
        bitnet-tt convert microsoft/bitnet-b1.58-2B-4T 2b4t.gguf --to gguf-i2s
        bitnet-tt convert ./trained ./packed --to packed --masters
        bitnet-tt convert prism-ml/Ternary-Bonsai-1.7B-unpacked bonsai.gguf --to gguf-q2_0
    """
    from bitnet_tt.checkpoint.convert import convert as write

    with progress_bar(f"Writing {target}") as progress:
        notes = write(hub.resolve(source), target, to, progress, overwrite=overwrite, masters=masters)
    print_notes(notes)
    typer.echo(f"Wrote {target}", err=True)
