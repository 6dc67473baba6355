"""The fields of OpenAI's chats that say what to answer, and the shape of an answer with calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from bitnet_tt.server.answer_parts import AnswerParts, Part
from bitnet_tt.server.api.schema import OWN_TOOLS, ApiRequest, ChatMessage, refuse_kinds
from bitnet_tt.server.api.tool_choice import MAX_TOOLS, tool_use
from bitnet_tt.server.conversation import Conversation
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.structured_output import AnswerFormat
from bitnet_tt.server.tools import ToolUse


class FunctionTool(ApiRequest):
    """The function of a tool. Calls always fit its schema, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset({"strict"})

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class FunctionField(ApiRequest):
    """A tool that the model may call: a function."""

    type: Literal["function"]
    function: FunctionTool


type ToolField = Annotated[FunctionField, BeforeValidator(refuse_kinds((None, "function"), OWN_TOOLS))]


class FunctionName(ApiRequest):
    """The name of a function."""

    name: str


class NamedTool(ApiRequest):
    """The one tool that the model must call."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(ApiRequest):
    """The tools that the model may or must call."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedToolChoice(ApiRequest):
    """The choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


type ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedToolChoice


class ChatFields(ApiRequest):
    """A chat, the tools for its answer, and where the answer begins. The last two fields are vLLM's."""

    messages: list[ChatMessage]
    tools: list[ToolField] = Field(default_factory=list, max_length=MAX_TOOLS)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    def conversation(self, form: AnswerFormat | None = None) -> Conversation:
        """Return the chat as a conversation, whose answer has a format.

        Raises:
            ApiError: The fields contradict each other, or a tool is not valid.
        """
        if self.continue_final_message and self.add_generation_prompt:
            message = "continue_final_message needs add_generation_prompt: false, as the answer has begun already"
            raise invalid(message, "continue_final_message")
        return Conversation(
            [message.for_template() for message in self.messages],
            tools=self._tool_use(),
            form=form,
            continues=self.continue_final_message,
            add_generation_prompt=self.add_generation_prompt,
        )

    def _tool_use(self) -> ToolUse | None:
        given = [(one.function.name, one.function.description, one.function.parameters) for one in self.tools]
        choice, parallel = self.tool_choice, self.parallel_tool_calls
        if isinstance(choice, NamedTool):
            return tool_use(given, "required", [choice.function.name], parallel=parallel)
        if isinstance(choice, AllowedToolChoice):
            names = [tool.function.name for tool in choice.allowed_tools.tools]
            return tool_use(given, choice.allowed_tools.mode, names, parallel=parallel)
        return tool_use(given, choice, parallel=parallel)


def chat_deltas(parts: AnswerParts, text: str, *, last: bool) -> Iterator[dict[str, Any]]:
    """Add text to an answer; yield OpenAI's deltas of what is certain. `last` says that no text follows."""
    for step in parts.push(text, last=last):
        part = step.part
        if step.kind == "begin" and part.tool is not None:
            yield {"tool_calls": [{"index": part.call, **_call(part, "")}]}
        elif step.kind == "text" and part.tool is not None:
            yield {"tool_calls": [{"index": part.call, "function": {"arguments": step.text}}]}
        elif step.kind == "text":
            yield {"content": step.text}


def chat_message(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the message of a whole answer."""
    content = "".join(part.text for part in parts if part.tool is None)
    calls = [_call(part, part.text) for part in parts if part.tool is not None]
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return message | ({"tool_calls": calls, "content": content or None} if calls else {})


def _call(part: Part, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{part.id}", "type": "function", "function": {"name": part.tool, "arguments": arguments}}
