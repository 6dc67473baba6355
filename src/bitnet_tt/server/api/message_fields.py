"""The fields of Anthropic's messages that say what to answer: blocks of content, tools, and the format of the text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from bitnet_tt.server.api.schema import (
    OWN_TOOLS,
    TEXT_ONLY,
    ApiRequest,
    Content,
    Refusal,
    TextPart,
    kind_of,
    refuse_kinds,
)
from bitnet_tt.server.api.tool_choice import tool_use
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.tools import ToolUse


class ToolUseBlock(ApiRequest):
    """A block of the assistant: a call that it made earlier."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "caller"})
    refused: ClassVar[Mapping[str, Refusal]] = {"toolset_name": Refusal(OWN_TOOLS)}

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(ApiRequest):
    """A block of the user: the result of a call. The text of an error begins with `Error: ` for the model."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control"})
    refused: ClassVar[Mapping[str, Refusal]] = {"toolset_name": Refusal(OWN_TOOLS)}

    type: Literal["tool_result"]
    tool_use_id: str
    content: Content = ""
    is_error: bool = False


_THOUGHTS = ("thinking", "redacted_thinking")


class ThinkingBlock(ApiRequest):
    """A block of the assistant: what another model thought in an earlier turn. It is left out, as by Anthropic."""

    ignored: ClassVar[frozenset[str]] = frozenset({"data", "signature", "thinking"})

    type: Literal["thinking", "redacted_thinking"]


type Block = Annotated[
    Annotated[TextPart, Tag("type text")]
    | Annotated[ToolUseBlock, Tag("type tool_use")]
    | Annotated[ToolResultBlock, Tag("type tool_result")]
    | Annotated[ThinkingBlock, Tag("type thinking")]
    | Annotated[ThinkingBlock, Tag("type redacted_thinking")],
    Discriminator(kind_of),
    BeforeValidator(refuse_kinds(("text", "tool_use", "tool_result", *_THOUGHTS), TEXT_ONLY)),
]


class Turn(ApiRequest):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        allowed = {
            "assistant": ("text", "tool_use", *_THOUGHTS),
            "user": ("text", "tool_result"),
        }.get(self.role, ("text",))
        blocks = () if isinstance(self.content, str) else self.content
        if kind := next((block.type for block in blocks if block.type not in allowed), None):
            problem = {"role": self.role, "kind": kind}
            raise PydanticCustomError("block", "the {role} has no blocks of type {kind}", problem)
        return self

    def chat_messages(self) -> list[dict[str, Any]]:
        """Return the turn as messages of a chat. The results of tools become messages of their own."""
        blocks = [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content
        text = "".join(block.text for block in blocks if isinstance(block, TextPart))
        calls = [_call(block) for block in blocks if isinstance(block, ToolUseBlock)]
        results = [_result(block) for block in blocks if isinstance(block, ToolResultBlock)]
        if results and not text:
            return results
        message: dict[str, Any] = {"role": self.role, "content": text}
        return [*results, message | ({"tool_calls": calls} if calls else {})]


class ToolField(ApiRequest):
    """A tool that the model may call. Calls always fit its schema, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"cache_control", "eager_input_streaming", "input_examples", "strict"}
    )
    refused: ClassVar[Mapping[str, Refusal]] = {
        "allowed_callers": Refusal(OWN_TOOLS, (["direct"],)),
        "defer_loading": Refusal("the model sees every tool at once", (False,)),
    }

    type: Literal["custom"] = "custom"
    name: str
    description: str = ""
    input_schema: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _refuse_server_tools(cls, data: Any) -> Any:
        return refuse_kinds((None, "custom"), OWN_TOOLS)(data)


class ToolChoice(ApiRequest):
    """Whether the model may or must call a tool."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if (self.type == "tool") != (self.name is not None):
            raise PydanticCustomError("choice", "name must be given if, and only if, the type is tool")
        return self


class JsonFormat(ApiRequest):
    """The format of the text: JSON that fits a schema."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(ApiRequest):
    """What the text must be."""

    refused: ClassVar[Mapping[str, Refusal]] = {
        "effort": Refusal("this model has no such setting"),
        "task_budget": Refusal("this model has no such setting"),
    }

    format: JsonFormat | None = None


def message_tool_use(fields: Sequence[ToolField], choice: ToolChoice) -> ToolUse | None:
    """Return how a message may use tools; None if it may not. Errors are those of `tool_use`."""
    given = [(one.name, one.description, one.input_schema) for one in fields]
    parallel = not choice.disable_parallel_tool_use
    if choice.type in ("none", "auto"):
        return tool_use(given, choice.type, parallel=parallel)
    return tool_use(given, "required", None if choice.name is None else [choice.name], parallel=parallel)


def _call(block: ToolUseBlock) -> dict[str, Any]:
    try:
        arguments = json.dumps(block.input, ensure_ascii=False)
    except RecursionError:
        raise invalid(f"the input of the tool_use {block.id[:40]!r} is nested too deep", "messages") from None
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _result(block: ToolResultBlock) -> dict[str, Any]:
    text = f"Error: {block.content}" if block.is_error else block.content
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}
