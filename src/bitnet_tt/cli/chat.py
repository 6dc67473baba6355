"""`bitnet-tt chat`: chat with a model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bitnet_tt.cli.chat_session import HELP, ChatSession
from bitnet_tt.cli.errors import EXIT_FAILURE, describe_error
from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, SamplingOptions, load_model
from bitnet_tt.cli.streams import accept_any_line
from bitnet_tt.cli.terminal import has_styles, is_terminal
from bitnet_tt.errors import BitNetError


def chat(
    sampling: SamplingOptions,
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "demo",
    system: Annotated[str, typer.Option(help="The first system message.")] = "",
) -> None:
    """Chat with a model.

    Ctrl-C stops an answer and keeps the text so far. Ctrl-D ends the chat.
    /help lists the commands. If standard input is not a terminal, each of its
    lines is a message or a command, and only the answers are printed. After an
    error the next line follows, and the exit code at the end is 1.

    Examples:
        bitnet-tt chat
        bitnet-tt chat -m ./my-model --system "Answer in one sentence."
        echo "What is the capital of France?" | bitnet-tt chat
    """
    config = sampling.config()
    loaded = load_model(model, device, hub)
    session = ChatSession(loaded, config, system)
    accept_any_line()
    if is_terminal(sys.stdin):
        typer.echo(f"{model} on {loaded.backend.description}. {HELP}", err=True)
        _talk(session)
        return
    if not _answer_lines(session):
        raise typer.Exit(EXIT_FAILURE)


def _answer_lines(session: ChatSession) -> bool:
    """Answer the lines of standard input. Report an error and go on; return whether there was none."""
    succeeded = True
    for line in sys.stdin:
        try:
            if not session.take(line.rstrip("\r\n")):
                break
        except (BitNetError, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:
                raise  # not the file of /save: standard output fails, so there is no use in going on
            typer.echo(f"error: {describe_error(error)}", err=True)
            succeeded = False
    return succeeded


def _talk(session: ChatSession) -> None:
    import readline  # gives input() line editing and a history

    if not has_styles():
        readline.parse_and_bind("set enable-bracketed-paste off")  # readline would switch it on by an escape code

    while True:
        try:
            if not session.take(input("> ")):
                return
        except KeyboardInterrupt:
            typer.echo("\n(Ctrl-D or /exit ends the chat)", err=True)
        except EOFError:
            typer.echo()
            return
        except (BitNetError, OSError) as error:
            typer.echo(f"error: {describe_error(error)}", err=True)
