"""The fields of a chat that say which tools the model may call, and the calls in its answers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from bitnet_tt.server import tools
from bitnet_tt.server.api.schema import ApiRequest
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.tools import Tool, ToolCallParser
from bitnet_tt.tokenizer import Tokenizer


class FunctionTool(ApiRequest):
    """The function of a tool. Calls always fit its schema, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset({"strict"})

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class ToolField(ApiRequest):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(ApiRequest):
    """The name of a function."""

    name: str


class NamedTool(ApiRequest):
    """The one tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


type ToolChoice = Literal["none", "auto", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How a chat may use tools.

    Attributes:
        tools: All tools of the request.
        grammar: The Lark grammar of the answer.
    """

    tools: Sequence[Tool]
    grammar: str


def tool_use(fields: Sequence[ToolField], choice: ToolChoice, *, parallel: bool) -> ToolUse | None:
    """Return how a chat may use tools; None if it may not.

    Raises:
        ApiError: A tool is named twice, or the named tool does not exist.
        RequestError: A name is not valid.
    """
    if not fields:
        if choice not in ("none", "auto"):
            raise invalid("tool_choice asks for a call, but there are no tools", "tool_choice")
        return None
    given = [Tool(one.function.name, one.function.description, one.function.parameters) for one in fields]
    names = [tool.name for tool in given]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"tools has two functions with the name {name!r}", "tools")
    if choice == "none":
        return None
    callable_tools = given
    if isinstance(choice, NamedTool):
        callable_tools = [tool for tool in given if tool.name == choice.function.name]
        if not callable_tools:
            raise invalid(f"tool_choice names {choice.function.name!r}, which is not in tools", "tool_choice")
    grammar = tools.call_grammar(callable_tools, required=choice != "auto", parallel=parallel)
    return ToolUse(given, grammar)


def template_has_tools(tokenizer: Tokenizer) -> bool:
    """Return whether the chat template shows tools to the model, and lets it call them in our format."""
    template = tokenizer.chat_templates.get("tool_use") or tokenizer.chat_templates.get("default", "")
    return "tools" in template and tools.BEGIN.strip() in template


def with_tools(messages: Sequence[Mapping[str, Any]], use: ToolUse | None) -> list[dict[str, Any]]:
    """Return the messages of a chat as text only, for a template without tools.

    The system turn tells the model its tools. Earlier calls become text of the assistant.
    """
    plain: list[dict[str, Any]] = []
    for message in messages:
        calls = [
            tools.call_text(call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ]
        content = "\n".join([*([message["content"]] if message.get("content") else []), *calls])
        rest = {name: value for name, value in message.items() if name not in ("tool_calls", "tool_call_id")}
        plain.append(rest | {"content": content})
    if use is not None:
        text = tools.instructions(use.tools)
        if plain and plain[0]["role"] == "system":
            plain[0] = plain[0] | {"content": f"{plain[0]['content']}\n\n{text}"}
        else:
            plain.insert(0, {"role": "system", "content": text})
    return plain


class CallDeltas:
    """Turns the text of one answer into OpenAI's deltas, with its tool calls apart.

    Attributes:
        called: Whether there was a call.
    """

    def __init__(self, parser: ToolCallParser | None) -> None:
        """Begin an answer. Without a parser all of it is content."""
        self._parser = parser

    @property
    def called(self) -> bool:
        """Whether there was a call so far."""
        return self._parser is not None and self._parser.calls > 0

    def push(self, text: str, *, last: bool) -> Iterator[dict[str, Any]]:
        """Add text; yield the deltas that are certain. `last` says that no text follows."""
        if self._parser is None:
            if text:
                yield {"content": text}
            return
        for event in (*self._parser.push(text), *(self._parser.flush() if last else ())):
            if event.kind == "content":
                yield {"content": event.text}
            elif event.kind == "call":
                function = {"name": event.text, "arguments": ""}
                call = {"index": event.index, "id": _call_id(), "type": "function", "function": function}
                yield {"tool_calls": [call]}
            else:
                yield {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}


def whole_message(deltas: CallDeltas, text: str) -> dict[str, Any]:
    """Return the message of a whole answer."""
    content = ""
    calls: list[dict[str, Any]] = []
    for delta in deltas.push(text, last=True):
        content += delta.get("content", "")
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                calls.append({"id": call["id"], "type": "function", "function": dict(call["function"])})
            else:
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return message | ({"tool_calls": calls, "content": content or None} if calls else {})


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
