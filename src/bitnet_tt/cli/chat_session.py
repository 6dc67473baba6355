"""A conversation with a model, and the commands that change it. Input comes one line at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from bitnet_tt.cli.generate import describe_timings, show_pieces
from bitnet_tt.cli.streams import check_text
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError

if TYPE_CHECKING:
    from bitnet_tt.generation import Piece, Timings
    from bitnet_tt.model import BitNetModel
    from bitnet_tt.tokenizer.chat_template import Message

HELP = "Type a message, or /help."

_COMMANDS = """\
/system TEXT  set the system message; without TEXT, remove it
/retry        answer the last message again
/clear        forget the conversation; keep the system message
/save FILE    write the conversation to FILE as JSON
/stats        show how long the last answer took
/help         show this list
/exit         end the chat, as Ctrl-D does; Ctrl-C stops an answer"""


class ChatModel(Protocol):
    """What answers: a model in this process, or behind a server."""

    def stream_chat(self, messages: Sequence[Message], config: GenerationConfig) -> Iterator[Piece]:
        """Answer a conversation, and yield the text as it is generated."""

    def count_prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a conversation, or 0 if it cannot be known."""


class LocalModel:
    """A model in this process."""

    def __init__(self, model: BitNetModel) -> None:
        self._model = model

    def stream_chat(self, messages: Sequence[Message], config: GenerationConfig) -> Iterator[Piece]:
        """Answer a conversation, and yield the text as it is generated."""
        return self._model.stream_chat(messages, config)

    def count_prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a conversation."""
        return len(self._model.tokenizer.apply_chat_template(messages))


class ChatSession:
    """A conversation with a model.

    Attributes:
        messages: The conversation so far without the system message, oldest message first.
    """

    def __init__(self, model: ChatModel, config: GenerationConfig, system: str) -> None:
        self.messages: list[dict[str, str]] = []
        self._model = model
        self._config = config
        self._system = system
        self._timings: Timings | None = None

    def take(self, line: str) -> bool:
        """Answer a message or run a command.

        Args:
            line: The message, or a command that begins with `/`.

        Returns:
            False if the line ends the chat.

        Raises:
            BitNetError: The model cannot answer; the conversation does not change.
            OSError: The file of /save cannot be written, or standard output fails.
        """
        check_text(line)
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
        """Print the answer to a message that follows the messages `before`. Ctrl-C ends it; the text so far is kept."""
        asked = [*before, {"role": "user", "content": message}]
        text = ""
        started = first = time.perf_counter()
        generated = 0
        try:
            for piece in show_pieces(self._model.stream_chat(self._with_system(asked), self._config)):
                text += piece.text
                first = first if generated else time.perf_counter()
                generated += len(piece.token_ids)
                self._timings = piece.timings
        except KeyboardInterrupt:
            from bitnet_tt.generation import Timings

            self._timings = Timings(
                prompt_tokens=self._model.count_prompt_tokens(self._with_system(asked)),
                reused_tokens=0,  # unknown
                generated_tokens=generated,
                first_token_seconds=first - started,
                decode_seconds=time.perf_counter() - first,
            )
            typer.echo(" [stopped]", err=True, nl=False)
        except RequestError as error:
            raise RequestError(f"{error}; /clear starts a new conversation") from error
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
