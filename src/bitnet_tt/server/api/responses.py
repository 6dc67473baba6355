"""OpenAI's responses, as far as they need no state: POST /v1/responses."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field, model_validator

from bitnet_tt.server.api.schema import (
    NO_STRUCTURE,
    NO_TOOLS,
    STATELESS,
    ApiRequest,
    Content,
    Refusal,
    SamplingFields,
    unsupported_field,
)
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.event_stream import event

router = APIRouter()

_PLAIN_TEXT = {"format": {"type": "text"}}
_MEDIUM = {"verbosity": "medium"}


class InputMessage(ApiRequest):
    """An item of the input: a message. Our own answers can be sent back as they are."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "phase", "status"})

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_items(cls, data: Any) -> Any:
        kind = data.get("type", "message") if isinstance(data, dict) else "message"
        if isinstance(kind, str) and kind != "message":
            raise unsupported_field("type", f"an item of type {kind[:40]!r} is no message; {NO_TOOLS}")
        return data


class ResponsesRequest(ApiRequest):
    """The body of a response. `seed`, `top_k`, `min_p` and `stop` extend OpenAI's schema."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {
            "max_tool_calls",
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "stream_options",
            "user",
        }
    )
    refused: ClassVar[Mapping[str, Refusal]] = {
        "background": Refusal(STATELESS, (False,)),
        "context_management": Refusal(STATELESS, ([],)),
        "conversation": Refusal(STATELESS),
        "include": Refusal("there is nothing more to include", ([],)),
        "moderation": Refusal("this server has no moderation"),
        "previous_response_id": Refusal(STATELESS),
        "prompt": Refusal("this server keeps no prompt templates"),
        "reasoning": Refusal("this model does not reason apart from its answer", ({}, {"effort": "none"})),
        "service_tier": Refusal("this server has one tier", ("auto", "default")),
        "store": Refusal(STATELESS, (False,)),
        "text": Refusal(
            NO_STRUCTURE, ({}, _PLAIN_TEXT, {"verbosity": "medium"}, _PLAIN_TEXT | {"verbosity": "medium"})
        ),
        "tool_choice": Refusal(NO_TOOLS, ("none", "auto")),
        "tools": Refusal(NO_TOOLS, ([],)),
        "top_logprobs": Refusal("this API gives no log-probabilities here; chat completions do", (0,)),
        "truncation": Refusal("a conversation that is too long is an error", ("disabled",)),
    }

    model: str
    input: str | list[InputMessage]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    top_k: int = Field(default=0, ge=-1, lt=2**31)
    min_p: float = Field(default=0.0, ge=0, le=1)
    stop: str | list[str] = Field(default_factory=list)

    @property
    def sampling(self) -> SamplingFields:
        """The fields that pick tokens and end the text, by the names of the other APIs."""
        return SamplingFields(
            model=self.model,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            top_k=self.top_k,
            min_p=self.min_p,
            stop=self.stop,
        )

    @property
    def chat(self) -> Sequence[Mapping[str, str]]:
        """The conversation as chat templates know it."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*system, {"role": "user", "content": self.input}]
        roles = {"developer": "system"}
        return [*system, *({"role": roles.get(one.role, one.role), "content": one.content} for one in self.input)]


@router.post("/v1/responses", response_model=None)
async def responses(
    body: ResponsesRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Answer a conversation. Nothing is stored."""
    context.check_model(body.model)
    config = context.config(body.sampling, max_tokens=body.max_output_tokens, max_tokens_field="max_output_tokens")
    prompt = await context.encode_chat(body.chat, "input")
    context.check_prompt(prompt, "input")
    call = context.start(request, [prompt], config, stream=body.stream, prompt_text=body.chat)
    return await context.respond(request, call, _Answer(context, body, call))


class _Answer:
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: ResponsesRequest, call: Call) -> None:
        self._call = call
        self._item_id = f"msg_{secrets.token_hex(12)}"
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
            "text": _PLAIN_TEXT,
            "tools": [],
            "tool_choice": "none",
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "background": False,
            "truncation": "disabled",
            "metadata": {},
            "error": None,
        }

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        return self._complete()

    async def events(self) -> AsyncGenerator[bytes]:
        running = self._head | {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        yield self._event("response.created", response=running)
        yield self._event("response.in_progress", response=running)
        item = self._item("in_progress", [])
        yield self._event("response.output_item.added", output_index=0, item=item)
        place = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        yield self._event("response.content_part.added", **place, part=_part(""))
        async for _, piece in self._call.pieces():
            if piece.text:
                yield self._event("response.output_text.delta", **place, delta=piece.text, logprobs=[])
        text = self._call.choices[0].text
        yield self._event("response.output_text.done", **place, text=text, logprobs=[])
        yield self._event("response.content_part.done", **place, part=_part(text))
        complete = self._complete()
        yield self._event("response.output_item.done", output_index=0, item=complete["output"][0])
        yield self._event(f"response.{complete['status']}", response=complete)

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
            "output": [self._item(status, [_part(choice.text)])],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _event(self, kind: str, **values: Any) -> bytes:
        """Return the next event, with its number."""
        number, self._count = self._count, self._count + 1
        return event({"type": kind, "sequence_number": number, **values}, kind)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
