"""`bitnet-tt embed`: the embeddings of texts."""

from __future__ import annotations

from typing import Annotated

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.output import dump_json
from bitnet_tt.cli.streams import read_text

_BATCH = 8
"""Texts that are computed together."""


def embed(
    texts: Annotated[
        list[str],
        typer.Argument(help="The texts, or - to read them from standard input, one a line.", metavar="TEXT..."),
    ],
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with the texts.")] = False,
) -> None:
    """Print the embedding of each text: one line with a JSON array of numbers.

    An embedding has length 1, so that the similarity of two texts is the sum of
    the products of their numbers. The model must be an embedding model.

    Examples:
        bitnet-tt embed "What is BitNet?" -m microsoft/bitnet-embedding-0.6b
        bitnet-tt embed - -m ./bitnet-embedding-0.6b < texts.txt > embeddings.jsonl
    """
    if texts == ["-"]:
        texts = read_text().splitlines()
    loaded = load_model(model, device, hub, max_batch_size=_BATCH)
    vectors = loaded.embed(texts).tolist()
    if as_json:
        rows = [{"text": text, "embedding": vector} for text, vector in zip(texts, vectors, strict=True)]
        typer.echo(dump_json({"model": model, "device": loaded.backend.description, "embeddings": rows}))
        return
    for vector in vectors:
        typer.echo(dump_json(vector))
