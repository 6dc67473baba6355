"""A conversation and its commands, one line at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bitnet_tt.cli.generate import describe_timings, show_pieces
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError

if TYPE_CHECKING:
    from bitnet_tt.generation import Timings
    from bitnet_tt.model import BitNetModel

HELP = "Type a message, or /help."

_COMMANDS = """\
/system TEXT  set the system message; without TEXT, remove it
/retry        answer the last message again
/clear        forget the conversation, but not the system message
/save FILE    write the conversation to FILE as JSON
/stats        show how long the last answer took
/help         show this
/exit         leave (or Ctrl-D); Ctrl-C stops an answer"""


class ChatSession:
    """Messages so far, and what a line does to them.

    Attributes:
        messages: The conversation without the system message, oldest first.
    """

    def __init__(self, model: BitNetModel, config: GenerationConfig, system: str) -> None:
        self.messages: list[dict[str, str]] = []
        self._model = model
        self._config = config
        self._system = system
        self._timings: Timings | None = None

    def take(self, line: str) -> bool:
        """Act on a line: a message is answered, a command done. Returns whether to go on.

        Raises:
            BitNetError: The model cannot answer; the conversation stays as it was.
            OSError: The file of /save cannot be written.
        """
        command, _, argument = line.strip().partition(" ")
        argument = argument.strip()
        match command:
            case "":
                pass
            case "/exit":
                return False
            case "/help":
                typer.echo(_COMMANDS)
            case "/clear":
                self.messages.clear()
                typer.echo("Forgotten.", err=True)
            case "/system":
                self._system = argument
                typer.echo("System message set." if argument else "System message removed.", err=True)
            case "/save":
                self._save(argument)
            case "/retry":
                self._retry()
            case "/stats":
                typer.echo(describe_timings(self._timings) if self._timings else "There is no answer yet.", err=True)
            case _ if command.startswith("/"):
                typer.echo(f"There is no command {command}.\n{_COMMANDS}", err=True)
            case _:
                self._say(line.strip(), self.messages)
        return True

    def _say(self, message: str, before: list[dict[str, str]]) -> None:
        """Stream an answer to a message after earlier ones; Ctrl-C ends it, and what was written stays."""
        asked = [*before, {"role": "user", "content": message}]
        text = ""
        try:
            for piece in show_pieces(self._model.stream_chat(self._with_system(asked), self._config)):
                text += piece.text
                self._timings = piece.timings or self._timings
        except KeyboardInterrupt:
            typer.echo(" [stopped]", err=True, nl=False)
        except RequestError as error:
            raise RequestError(f"{error}; /clear begins anew") from error
        typer.echo()
        self.messages = [*asked, {"role": "assistant", "content": text.strip()}]

    def _retry(self) -> None:
        if self.messages:
            *before, question, _ = self.messages
            self._say(question["content"], before)
        else:
            typer.echo("There is no answer yet.", err=True)

    def _with_system(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{"role": "system", "content": self._system}, *messages] if self._system else messages

    def _save(self, name: str) -> None:
        if not name:
            typer.echo("Which file? /save FILE", err=True)
            return
        messages = self._with_system(self.messages)
        with Path(name).expanduser().open("x", encoding="utf-8") as file:
            json.dump(messages, file, ensure_ascii=False, indent=2)
            file.write("\n")
        typer.echo(f"Saved {len(messages)} messages to {name}.", err=True)
