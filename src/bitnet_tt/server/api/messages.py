"""Anthropic's messages: POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field
from pydantic_core import from_json

from bitnet_tt.server.answer_parts import Part, Step
from bitnet_tt.server.api.message_fields import OutputConfig, ToolChoice, ToolField, Turn, message_tool_use
from bitnet_tt.server.api.schema import OWN_TOOLS, STATELESS, ApiRequest, CommonFields, Content, Refusal, SamplingFields
from bitnet_tt.server.api.tool_choice import MAX_TOOLS
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.conversation import Conversation
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.event_stream import event
from bitnet_tt.server.structured_output import AnswerFormat

router = APIRouter()

_REFUSED = {
    "container": Refusal("this server has no containers"),
    "context_management": Refusal(STATELESS),
    "mcp_servers": Refusal(OWN_TOOLS, ([],)),
    "output_format": Refusal("it is the older name of output_config.format"),
    "speed": Refusal("this server has one speed", ("standard",)),
    "thread": Refusal(STATELESS),
    "thinking": Refusal("this model does not think apart from its answer", ({"type": "disabled"},)),
}


class CountTokensRequest(ApiRequest):
    """A conversation whose tokens are to be counted."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "user_profile_id"})
    refused: ClassVar[Mapping[str, Refusal]] = _REFUSED

    model: str
    messages: list[Turn]
    system: Content | None = None
    tools: list[ToolField] = Field(default_factory=list, max_length=MAX_TOOLS)
    tool_choice: ToolChoice = Field(default_factory=lambda: ToolChoice(type="auto"))
    output_config: OutputConfig = Field(default_factory=OutputConfig)

    @property
    def conversation(self) -> Conversation:
        """What the model is to answer. It continues a last message of the assistant.

        Raises:
            ApiError: A tool is not valid, or the last message cannot be continued.
        """
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [message for turn in self.messages for message in turn.chat_messages()]
        given = self.output_config.format
        form = None if given is None else AnswerFormat("json_schema", given.schema_, "output_config.format")
        continues = bool(self.messages) and self.messages[-1].role == "assistant"
        if continues and form is not None:
            raise invalid("output_config.format cannot be combined with a last message of the assistant", form.param)
        if continues and messages[-1]["content"] != messages[-1]["content"].rstrip():
            raise invalid("the last message of the assistant must not end with white space", "messages")
        tools = message_tool_use(self.tools, self.tool_choice)
        return Conversation([*system, *messages], tools=tools, form=form, continues=continues)


class MessagesRequest(CountTokensRequest, CommonFields):
    """The body of a message. `seed`, `min_p` and `repetition_penalty` extend Anthropic's schema."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "inference_geo", "metadata", "user_profile_id"})
    refused: ClassVar[Mapping[str, Refusal]] = _REFUSED | {
        "diagnostics": Refusal("usage has the tokens that were in the cache", ({},)),
        "service_tier": Refusal("this server has one tier", ("auto", "standard_only")),
    }

    max_tokens: int = Field(ge=1)
    stop_sequences: list[str] = Field(default_factory=list)
    stream: bool = False
    temperature: float = Field(default=1.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)

    @property
    def sampling(self) -> SamplingFields:
        """The fields that pick tokens and end the text, by the names of the other APIs."""
        return self.with_fields(stop=self.stop_sequences, repetition_penalty=self.repetition_penalty)


@router.post("/v1/messages", response_model=None)
async def messages(
    body: MessagesRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Answer a conversation."""
    context.check_model(body.model)
    config = context.config(body.sampling, max_tokens=body.max_tokens, max_tokens_field="max_tokens")
    conversation = body.conversation
    call = await conversation.start(context, request, config, stream=body.stream)
    return await context.respond(request, call, _Answer(context, body, call, conversation))


@router.post("/v1/messages/count_tokens")
async def count_tokens(
    body: CountTokensRequest, context: Annotated[ServerContext, Depends(context_of)]
) -> dict[str, int]:
    """Count the tokens of a conversation, those of the chat template and of tools included."""
    context.check_model(body.model)
    return {"input_tokens": len(await body.conversation.prompt(context))}


class _Answer:
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: MessagesRequest, call: Call, conversation: Conversation) -> None:
        self._tokenizer = context.model.tokenizer
        self._stops = body.stop_sequences
        self._call = call
        self._parts = conversation.parts(context)
        self._head: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": context.settings.model_name,
        }

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        self._parts.push_all(self._call.choices[0].text)
        content = [_block(part) for part in self._parts.parts]
        return self._head | {"content": content} | self._stop() | {"usage": self._usage()}

    async def events(self) -> AsyncGenerator[bytes]:
        # Nothing is known of the cache yet; message_delta has it.
        nothing = {"stop_reason": None, "stop_sequence": None, "stop_details": None, "container": None}
        start = self._head | {"content": [], "usage": self._usage()} | nothing
        yield event({"type": "message_start", "message": start}, "message_start")
        async for _, piece in self._call.pieces():
            for step in self._parts.push(piece.text, last=bool(piece.finish_reason)):
                yield self._step(step)
        yield event({"type": "message_delta", "delta": self._stop(), "usage": self._usage()}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")

    def _step(self, step: Step) -> bytes:
        """Return the event of a step: a block begins, gets more text, or ends."""
        part, index = step.part, step.part.place
        if step.kind == "begin":
            block = _block(part, is_new=True)
            start = {"type": "content_block_start", "index": index, "content_block": block}
            return event(start, "content_block_start")
        if step.kind == "end":
            return event({"type": "content_block_stop", "index": index}, "content_block_stop")
        delta = {"type": "text_delta", "text": step.text}
        if part.tool is not None:
            delta = {"type": "input_json_delta", "partial_json": step.text}
        return event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")

    def failure(self, body: dict[str, Any]) -> bytes:
        return event(body, "error")

    def _stop(self) -> dict[str, str | None]:
        """Return why the text ended; the name of a stop sequence if one did it."""
        choice = self._call.choices[0]
        empty = {"stop_details": None, "container": None}
        if choice.finish_reason == "length":
            return empty | {"stop_reason": "max_tokens", "stop_sequence": None}
        text = self._tokenizer.decode(choice.token_ids, continues=True)
        found = next((stop for stop in self._stops if text.startswith(stop, len(choice.text))), None)
        if found is not None:
            return empty | {"stop_reason": "stop_sequence", "stop_sequence": found}
        reason = "tool_use" if self._parts.ends_with_call else "end_turn"
        return empty | {"stop_reason": reason, "stop_sequence": None}

    def _usage(self) -> dict[str, Any]:
        """Return the usage: Anthropic's `input_tokens` are those that were not in the cache."""
        usage = self._call.usage
        return {
            "cache_creation": None,
            "inference_geo": None,
            "output_tokens_details": None,
            "server_tool_use": None,
            "service_tier": "standard",
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
        }


def _block(part: Part, *, is_new: bool = False) -> dict[str, Any]:
    """Return a part of the answer as a block of content. A new one has no text yet.

    The input of a call that a limit cut holds what there is of it.
    """
    if part.tool is None:
        return {"type": "text", "text": "" if is_new else part.text, "citations": None}
    given = {} if is_new or not part.text else from_json(part.text, allow_partial=True)
    call = {"id": f"toolu_{part.id}", "name": part.tool, "input": given}
    return {"type": "tool_use", **call, "caller": {"type": "direct"}}
