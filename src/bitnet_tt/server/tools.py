"""Tool calls in a text format of our own, for models whose chat template has none.

The format is the one of many open models: `<tool_call>`, a JSON object with the keys `name` and `arguments`, and
`</tool_call>`, with a line break between them. A grammar makes every call valid, so that it can be parsed as it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bitnet_tt.errors import RequestError
from bitnet_tt.server.structured_output import JSON_STYLE

BEGIN, END = "<tool_call>\n", "\n</tool_call>"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ANY_ARGUMENTS: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 64.
        description: What it does, for the model; may be empty.
        parameters: The JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            RequestError: It has other characters, or is empty or too long.
        """
        if not _NAME.fullmatch(self.name):
            raise RequestError(f"the tool name {self.name!r} must be 1 to 64 characters long: letters, digits, _ and -")


def instructions(tools: Sequence[Tool]) -> str:
    """Return the text of the system turn that tells a model its tools and the format of a call."""
    lines = ["You can call these functions:"]
    for tool in tools:
        described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        lines.append(json.dumps({key: value for key, value in described.items() if value}, ensure_ascii=False))
    example = json.dumps({"name": "function name", "arguments": {}})
    lines.append(f"To call a function, write exactly:\n{BEGIN}{example}{END}")
    return "\n".join(lines)


def call_text(name: str, arguments: str) -> str:
    """Return a call as the model writes it, for earlier turns of a chat.

    Args:
        name: The name of the tool.
        arguments: Its arguments as JSON.
    """
    return f'{BEGIN}{{"name": {json.dumps(name)}, "arguments": {arguments}}}{END}'


def call_grammar(tools: Sequence[Tool], *, required: bool, parallel: bool) -> str:
    """Return the Lark grammar of a turn with valid calls.

    Args:
        tools: The tools that may be called: all of a request, or the one that it names.
        required: The turn must be a call. Otherwise it may be text, or text and then calls.
        parallel: The turn may hold several calls.
    """
    calls = ' ("\\n" call)*' if parallel else ""
    rules = [f"start: call{calls}" if required else f"start: TEXT | TEXT? call{calls}"]
    rules.append(" | ".join(["call: call_0", *(f"call_{index}" for index in range(1, len(tools)))]))
    for index, tool in enumerate(tools):
        begin = json.dumps(f'{BEGIN}{{"name": "{tool.name}", "arguments": ')
        schema = json.dumps({**(tool.parameters or _ANY_ARGUMENTS), "x-guidance": dict(JSON_STYLE)})
        rules.append(f"call_{index}: {begin} %json {schema} {json.dumps('}' + END)}")
    if not required:
        # Any text without the beginning of a call.
        rules.append(f"TEXT: /(?s:.+)/ & ~/(?s:.*){re.escape(BEGIN.strip())}(?s:.*)/")
    return "\n".join(rules) + "\n"


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """A part of a turn.

    Attributes:
        kind: `content` (text outside of calls), `call` (a call begins; its name is known), or `arguments` (a piece of
            the call's arguments).
        text: The text, the name, or the piece of JSON.
        index: The number of the call in the turn, from 0 on.
    """

    kind: Literal["content", "call", "arguments"]
    text: str
    index: int = 0


class ToolCallParser:
    """Finds calls in a turn while it is generated. The turn must fit `call_grammar`.

    Text that may become the beginning or the end of a call is held back until it is certain.
    """

    _NAME_END = '", "arguments": '

    def __init__(self) -> None:
        """Begin a turn."""
        self._held = ""
        self._state: Literal["content", "name", "arguments"] = "content"
        self.calls = 0

    def push(self, text: str) -> Iterator[ToolEvent]:
        """Add text; yield what has become certain."""
        self._held += text
        while True:
            before = (self._held, self._state)
            if self._state == "content":
                yield from self._content()
            elif self._state == "name":
                yield from self._name()
            else:
                yield from self._arguments()
            if (self._held, self._state) == before:
                return

    def flush(self) -> Iterator[ToolEvent]:
        """Yield the text that was held back, at the end of the turn."""
        held, self._held = self._held, ""
        if held and self._state == "content" and held.strip():
            yield ToolEvent("content", held)
        elif held and self._state == "arguments":
            yield ToolEvent("arguments", held, self.calls - 1)

    def _content(self) -> Iterator[ToolEvent]:
        begin = BEGIN + '{"name": "'
        at = self._held.find(begin)
        certain = self._held[:at] if at >= 0 else _without_beginning_of(self._held, begin)
        if certain and (self.calls == 0 or certain.strip()):
            yield ToolEvent("content", certain)
        self._held = self._held[len(certain) :]
        if at >= 0:
            self._held, self._state = self._held.removeprefix(begin), "name"

    def _name(self) -> Iterator[ToolEvent]:
        name, found, rest = self._held.partition(self._NAME_END)
        if found:
            yield ToolEvent("call", name, self.calls)
            self._held, self._state = rest, "arguments"
            self.calls += 1

    def _arguments(self) -> Iterator[ToolEvent]:
        end = "}" + END
        arguments, found, rest = self._held.partition(end)
        if not found:
            arguments = _without_beginning_of(self._held, end)
            rest = self._held[len(arguments) :]
        if arguments:
            yield ToolEvent("arguments", arguments, self.calls - 1)
        self._held = rest
        if found:
            self._state = "content"


def _without_beginning_of(text: str, string: str) -> str:
    """Return a text without the longest end that may be the beginning of a string."""
    longest = min(len(string) - 1, len(text))
    size = next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
    return text[: len(text) - size]
