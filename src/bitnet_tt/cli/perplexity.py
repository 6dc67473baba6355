"""`bitnet-tt perplexity`: the perplexity of a file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.progress import progress_bar


def perplexity(
    file: Annotated[Path, typer.Argument(help="A text in UTF-8.", exists=True, dir_okay=False)],
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "demo",
    stride: Annotated[
        int | None,
        typer.Option(help="Let windows overlap, and score so many tokens of each, as --ppl-stride does.", min=1),
    ] = None,
    windows: Annotated[int | None, typer.Option(help="Stop after so many windows.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the perplexity of a text, in the windows of llama-perplexity.

    A window has 512 tokens, or as many as --context says. Its second half is
    scored. The figures of llama.cpp and bitnet.cpp with the same text, context and
    stride can be compared with this one. The published perplexity of 2B4T on
    wikitext, 17.109, is of this kind.

    Examples:
        bitnet-tt perplexity wiki.test.raw -m microsoft/bitnet-b1.58-2B-4T
        bitnet-tt perplexity story.txt --context 128 --stride 64
    """
    from bitnet_tt.evaluation.perplexity import CONTEXT, measure_perplexity

    context = device.context or CONTEXT
    text = file.read_text(encoding="utf-8")
    loaded = load_model(model, replace(device, context=context + (stride or 0) // 2), hub)
    with progress_bar("Scoring") as progress:
        result = measure_perplexity(
            loaded, text, context=context, stride=stride, max_windows=windows, progress=progress
        )
    if as_json:
        typer.echo(json.dumps({"model": model, "device": loaded.backend.description} | asdict(result), indent=2))
        return
    typer.echo(f"perplexity {result.perplexity:.4f} +/- {result.error:.4f}")
    typer.echo(f"{result.scored} of {result.tokens} tokens, in {result.windows} windows of {context}", err=True)
