"""The fields of OpenAI's responses that say what to answer: items of the input, tools, and the format of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from bitnet_tt.server.api.schema import OWN_TOOLS, ApiRequest, Content, Refusal, kind_of, refuse_kinds
from bitnet_tt.server.api.tool_choice import tool_use
from bitnet_tt.server.structured_output import ANY_OBJECT, AnswerFormat
from bitnet_tt.server.tools import ToolUse


class MessageItem(ApiRequest):
    """An item of the input: a message. Our own answers can be sent back as they are."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "phase", "status"})

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class CallItem(ApiRequest):
    """An item of the input: a call that the model made earlier."""

    ignored: ClassVar[frozenset[str]] = frozenset({"async", "caller", "id", "namespace", "status"})

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class CallOutputItem(ApiRequest):
    """An item of the input: the result of a call."""

    ignored: ClassVar[frozenset[str]] = frozenset({"caller", "id", "name", "namespace", "status"})

    type: Literal["function_call_output"]
    call_id: str
    output: Content


type InputItem = Annotated[
    Annotated[MessageItem, Tag("type message")]
    | Annotated[MessageItem, Tag("type None")]
    | Annotated[CallItem, Tag("type function_call")]
    | Annotated[CallOutputItem, Tag("type function_call_output")],
    Discriminator(kind_of),
    BeforeValidator(refuse_kinds((None, "message", "function_call", "function_call_output"), "send only these items")),
]


class FunctionField(ApiRequest):
    """A tool that the model may call. Calls always fit its schema, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset({"async", "output_schema", "strict"})
    refused: ClassVar[Mapping[str, Refusal]] = {
        "allowed_callers": Refusal(OWN_TOOLS, (["direct"],)),
        "defer_loading": Refusal("the model sees every tool at once", (False,)),
    }

    type: Literal["function"]
    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class NamedTool(ApiRequest):
    """The one tool that the model must call."""

    type: Literal["function"]
    name: str


class AllowedTools(ApiRequest):
    """The tools that the model may or must call."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


type ToolField = Annotated[FunctionField, BeforeValidator(refuse_kinds((None, "function"), OWN_TOOLS))]
type ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedTools


class TextFormat(ApiRequest):
    """The format of the text. A schema is always enforced, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset({"description", "strict"})

    type: Literal["text", "json_object", "json_schema"]
    name: str = ""
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _check_schema(self) -> Self:
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise PydanticCustomError("format", "schema must be given if, and only if, the type is json_schema")
        return self


class TextField(ApiRequest):
    """What the text must be."""

    refused: ClassVar[Mapping[str, Refusal]] = {"verbosity": Refusal("this model has no such setting", ("medium",))}

    format: TextFormat = Field(default_factory=lambda: TextFormat(type="text"))

    @property
    def answer_format(self) -> AnswerFormat | None:
        """The format of the answer; None if it may be any text."""
        if self.format.type == "text":
            return None
        return AnswerFormat("json_schema", self.format.schema_ or ANY_OBJECT, "text.format")


def response_tool_use(fields: Sequence[FunctionField], choice: ToolChoice, *, parallel: bool) -> ToolUse | None:
    """Return how a response may use tools; None if it may not. Errors are those of `tool_use`."""
    given = [(one.name, one.description, one.parameters) for one in fields]
    if isinstance(choice, NamedTool):
        return tool_use(given, "required", [choice.name], parallel=parallel)
    if isinstance(choice, AllowedTools):
        return tool_use(given, choice.mode, [tool.name for tool in choice.tools], parallel=parallel)
    return tool_use(given, choice, parallel=parallel)


def chat_messages(items: Sequence[MessageItem | CallItem | CallOutputItem]) -> list[dict[str, Any]]:
    """Return items as the messages of a chat. A call belongs to the message of the assistant before it."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, MessageItem):
            messages.append({"role": "system" if item.role == "developer" else item.role, "content": item.content})
        elif isinstance(item, CallOutputItem):
            messages.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
        else:
            function = {"name": item.name, "arguments": item.arguments}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            calls = messages[-1].setdefault("tool_calls", [])
            calls.append({"id": item.call_id, "type": "function", "function": function})
    return messages
