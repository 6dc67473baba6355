"""`bitnet-tt generate`: continue a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, SamplingOptions, load_model
from bitnet_tt.cli.output import dump_json
from bitnet_tt.cli.streams import read_text
from bitnet_tt.cli.terminal import has_styles, is_terminal

if TYPE_CHECKING:
    from bitnet_tt.generation import Piece, Timings


def generate(
    prompt: Annotated[
        str, typer.Argument(help="The text to continue, or - to read it from standard input, without a last newline.")
    ],
    sampling: SamplingOptions,
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "demo",
    logprobs: Annotated[
        int | None,
        typer.Option(help="With --json: report the log-probability of each token and of this many alternatives."),
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Print timings to standard error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Continue a text and print the new text as it is generated.

    Standard output gets only the new text, so it can be piped. Ctrl-C stops the
    generation and keeps the text so far.

    Examples:
        bitnet-tt generate "Once upon a time" -n 100
        bitnet-tt generate "Hello" -t 0.8 --top-p 0.95 --seed 1 --stats
        cat story.txt | bitnet-tt generate - --json
    """
    if logprobs is not None and not as_json:
        raise typer.BadParameter("--logprobs needs --json")
    config = sampling.config(logprobs=logprobs)
    text = read_text() if prompt == "-" else prompt
    loaded = load_model(model, device, hub)
    if is_terminal(sys.stdout) and not as_json:
        typer.echo(typer.style(text, dim=True) if has_styles() else text, nl=False)
    pieces, interrupted = _run(loaded.stream(text, config), show=not as_json)
    if as_json:
        result = {"model": model, "device": loaded.backend.description, "prompt": text} | as_dict(pieces)
        result["load_times"] = asdict(loaded.load_times)
        typer.echo(dump_json(result))
    if stats and pieces and pieces[-1].timings is not None:
        typer.echo(describe_timings(pieces[-1].timings), err=True)
    if interrupted:
        raise KeyboardInterrupt


def show_pieces(stream: Iterator[Piece]) -> Iterator[Piece]:
    """Print each piece to standard output as it comes, and yield it."""
    for piece in stream:
        typer.echo(piece.text, nl=False)
        sys.stdout.flush()
        yield piece


def _run(stream: Iterator[Piece], *, show: bool) -> tuple[list[Piece], bool]:
    """Take all pieces. Return them, and whether Ctrl-C ended the stream."""
    pieces: list[Piece] = []
    interrupted = False
    try:
        for piece in show_pieces(stream) if show else stream:
            pieces.append(piece)  # noqa: PERF402 (list() would lose the pieces before Ctrl-C)
    except KeyboardInterrupt:
        interrupted = True
    if show:
        typer.echo()
    return pieces, interrupted


def as_dict(pieces: list[Piece]) -> dict[str, Any]:
    """Return a generation in the form of its JSON; `finish_reason` is None if it was interrupted."""
    last = pieces[-1] if pieces else None
    result: dict[str, Any] = {
        "text": "".join(piece.text for piece in pieces),
        "token_ids": [token_id for piece in pieces for token_id in piece.token_ids],
        "finish_reason": last.finish_reason if last else None,
        "timings": asdict(last.timings) if last and last.timings else None,
    }
    logprobs = [asdict(logprob) for piece in pieces for logprob in piece.logprobs]
    return result | ({"logprobs": logprobs} if logprobs else {})


def describe_timings(timings: Timings) -> str:
    """Describe timings in one line."""
    reused = f" ({timings.reused_tokens} reused)" if timings.reused_tokens else ""
    speed = timings.decode_tokens_per_second
    if not timings.generated_tokens:
        return f"prompt {timings.prompt_tokens} tokens{reused}, stopped before the first token"
    prompt = (
        f"prompt {timings.prompt_tokens} tokens{reused}, first token after {timings.first_token_seconds * 1000:.1f} ms"
    )
    return f"{prompt}; generated {timings.generated_tokens} tokens" + (f" at {speed:.1f} tokens/s" if speed else "")
