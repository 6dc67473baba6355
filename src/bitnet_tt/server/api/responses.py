"""OpenAI's responses, as far as they need no state: POST /v1/responses."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field

from bitnet_tt.server.answer_parts import Part, Step
from bitnet_tt.server.api.response_fields import (
    InputItem,
    TextField,
    ToolChoice,
    ToolField,
    chat_messages,
    response_tool_use,
)
from bitnet_tt.server.api.schema import STATELESS, TEXT_ONLY, CommonFields, Refusal, SamplingFields
from bitnet_tt.server.api.tool_choice import MAX_TOOLS
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.conversation import Conversation
from bitnet_tt.server.event_stream import event

router = APIRouter()


class ResponsesRequest(CommonFields):
    """The body of a response. `seed`, `top_k`, `min_p` and `stop` extend OpenAI's schema."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {
            "max_tool_calls",
            "metadata",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "stream_options",
            "user",
        }
    )
    refused: ClassVar[Mapping[str, Refusal]] = {
        "access_programs": Refusal("this server has none"),
        "background": Refusal(STATELESS, (False,)),
        "background_options": Refusal(STATELESS),
        "context_management": Refusal(STATELESS, ([],)),
        "conversation": Refusal(STATELESS),
        "image": Refusal(TEXT_ONLY),
        "include": Refusal("there is nothing more to include", ([],)),
        "moderation": Refusal("this server has no moderation"),
        "previous_response_id": Refusal(STATELESS),
        "prompt": Refusal("this server keeps no prompt templates"),
        "reasoning": Refusal("this model does not reason apart from its answer", ({}, {"effort": "none"})),
        "service_tier": Refusal("this server has one tier", ("auto", "default")),
        "store": Refusal(STATELESS, (False,)),
        "top_logprobs": Refusal("this API gives no log-probabilities here; chat completions do", (0,)),
        "truncation": Refusal("a conversation that is too long is an error", ("disabled",)),
    }

    input: str | list[InputItem]
    instructions: str | None = None
    text: TextField = Field(default_factory=TextField)
    tools: list[ToolField] = Field(default_factory=list, max_length=MAX_TOOLS)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False
    stop: str | list[str] = Field(default_factory=list)

    @property
    def sampling(self) -> SamplingFields:
        """The fields that pick tokens and end the text, by the names of the other APIs."""
        return self.with_fields(stop=self.stop)

    @property
    def conversation(self) -> Conversation:
        """What the model is to answer.

        Raises:
            ApiError: A tool is not valid.
        """
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        given = self.input
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else chat_messages(given)
        tools = response_tool_use(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)
        return Conversation([*system, *messages], "input", tools=tools, form=self.text.answer_format)


@router.post("/v1/responses", response_model=None)
async def responses(
    body: ResponsesRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Answer a conversation. Nothing is stored."""
    context.check_model(body.model)
    config = context.config(body.sampling, max_tokens=body.max_output_tokens, max_tokens_field="max_output_tokens")
    conversation = body.conversation
    call = await conversation.start(context, request, config, stream=body.stream)
    return await context.respond(request, call, _Answer(context, body, call, conversation))


class _Answer:
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: ResponsesRequest, call: Call, conversation: Conversation) -> None:
        self._call = call
        self._parts = conversation.parts(context)
        self._count = 0
        self._head: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(12)}",
            "object": "response",
            "created_at": int(time.time()),
            "model": context.settings.model_name,
            "instructions": body.instructions,
            "completed_at": None,
            "max_output_tokens": body.max_output_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_logprobs": 0,
            "reasoning": {"effort": None, "summary": None},
            "max_tool_calls": None,
            "service_tier": "default",
            "safety_identifier": None,
            "prompt_cache_key": None,
            "text": body.text.model_dump(exclude_defaults=True, by_alias=True) or {"format": {"type": "text"}},
            "tools": [tool.model_dump() | {"strict": True} for tool in body.tools],
            "tool_choice": body.tool_choice if isinstance(body.tool_choice, str) else body.tool_choice.model_dump(),
            "parallel_tool_calls": body.parallel_tool_calls,
            "previous_response_id": None,
            "store": False,
            "background": False,
            "truncation": "disabled",
            "metadata": {},
            "error": None,
        }

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        self._parts.push_all(self._call.choices[0].text)
        return self._complete()

    async def events(self) -> AsyncGenerator[bytes]:
        running = self._head | {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        yield self._event("response.created", response=running)
        yield self._event("response.in_progress", response=running)
        async for _, piece in self._call.pieces():
            for step in self._parts.push(piece.text, last=bool(piece.finish_reason)):
                for one in self._step(step):
                    yield one
        complete = self._complete()
        yield self._event(f"response.{complete['status']}", response=complete)

    def _step(self, step: Step) -> Iterator[bytes]:
        """Yield the events of a step: an item begins, gets more text, or ends."""
        part = step.part
        index = part.place
        place: dict[str, Any] = {"item_id": _item_id(part), "output_index": index}
        is_text = part.tool is None
        if is_text:
            place |= {"content_index": 0}
        if step.kind == "begin":
            item = _item(part, "in_progress", is_new=True)
            yield self._event("response.output_item.added", output_index=index, item=item)
            if is_text:
                yield self._event("response.content_part.added", **place, part=_text_part(""))
        elif step.kind == "text" and is_text:
            yield self._event("response.output_text.delta", **place, delta=step.text, logprobs=[])
        elif step.kind == "text":
            yield self._event("response.function_call_arguments.delta", **place, delta=step.text)
        else:
            if is_text:
                yield self._event("response.output_text.done", **place, text=part.text, logprobs=[])
                yield self._event("response.content_part.done", **place, part=_text_part(part.text))
            else:
                done = {"name": part.tool, "arguments": part.text}
                yield self._event("response.function_call_arguments.done", **place, **done)
            item = _item(part, self._status(part))
            yield self._event("response.output_item.done", output_index=index, item=item)

    def failure(self, body: dict[str, Any]) -> bytes:
        error = body["error"]
        failed = self._head | {
            "status": "failed",
            "error": {"code": "server_error", "message": error["message"]},
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return self._event("response.failed", response=failed)

    def _complete(self) -> dict[str, Any]:
        choice, usage = self._call.choices[0], self._call.usage
        is_cut = choice.finish_reason == "length"
        status = "incomplete" if is_cut else "completed"
        return self._head | {
            "status": status,
            "completed_at": None if is_cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": [_item(part, self._status(part)) for part in self._parts.parts],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def _status(self, part: Part) -> str:
        """Return whether an item is complete: the last one is not if the answer is cut."""
        is_cut = part is self._parts.parts[-1] and self._call.choices[0].finish_reason == "length"
        return "incomplete" if is_cut else "completed"

    def _event(self, kind: str, **values: Any) -> bytes:
        """Return the next event, with its number."""
        number, self._count = self._count, self._count + 1
        return event({"type": kind, "sequence_number": number, **values}, kind)


def _item_id(part: Part) -> str:
    return f"{'msg' if part.tool is None else 'fc'}_{part.id}"


def _item(part: Part, status: str, *, is_new: bool = False) -> dict[str, Any]:
    """Return a part of the answer as an item of the output. A new one has no text yet."""
    head = {"id": _item_id(part), "status": status}
    text = "" if is_new else part.text
    if part.tool is not None:
        call = {"type": "function_call", "call_id": f"call_{part.id}", "name": part.tool, "arguments": text}
        return head | call
    return head | {"type": "message", "role": "assistant", "content": [] if is_new else [_text_part(text)]}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
