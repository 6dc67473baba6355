"""`bitnet-tt chat`: chat with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bitnet_tt.cli.chat_session import HELP, ChatModel, ChatSession, LocalModel
from bitnet_tt.cli.errors import EXIT_FAILURE, describe_error
from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, SamplingOptions, load_model
from bitnet_tt.cli.streams import accept_any_line
from bitnet_tt.cli.terminal import has_styles, is_terminal
from bitnet_tt.errors import BitNetError


def chat(
    sampling: SamplingOptions,
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=f"{MODEL_HELP} With --url: its name on the server.", show_default="demo"),
    ] = None,
    system: Annotated[str, typer.Option(help="The first system message.")] = "",
    url: Annotated[
        str | None,
        typer.Option(help="Chat through the OpenAI-compatible server at this address.", show_default=False),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="With --url: the file whose first line is the key.", dir_okay=False, exists=True)
    ] = None,
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
        bitnet-tt chat --url http://localhost:8080
    """
    config = sampling.config()
    if url is not None:
        place, answering = _connect(url, model, api_key_file)
    elif api_key_file is not None:
        raise typer.BadParameter("--api-key-file needs --url")
    else:
        loaded = load_model(model or "demo", device, hub)
        place, answering = f"{model or 'demo'} on {loaded.backend.description}", LocalModel(loaded)
    session = ChatSession(answering, config, system)
    accept_any_line()
    if is_terminal(sys.stdin):
        typer.echo(f"{place}. {HELP}", err=True)
        _talk(session)
        return
    if not _answer_lines(session):
        raise typer.Exit(EXIT_FAILURE)


def _connect(url: str, name: str | None, api_key_file: Path | None) -> tuple[str, ChatModel]:
    """Return what to call the model behind a server, and the model."""
    from bitnet_tt.cli.remote import RemoteModel, read_api_key

    remote = RemoteModel(url, name, read_api_key(api_key_file) if api_key_file is not None else None)
    return f"{remote.name} at {remote.url}", remote


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
