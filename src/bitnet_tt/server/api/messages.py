"""Anthropic's messages: POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field

from bitnet_tt.server.api.schema import (
    NO_STRUCTURE,
    NO_TOOLS,
    STATELESS,
    ApiRequest,
    Content,
    Refusal,
    SamplingFields,
)
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.event_stream import event

router = APIRouter()

_REFUSED = {
    "container": Refusal("this server has no containers"),
    "context_management": Refusal(STATELESS),
    "mcp_servers": Refusal(NO_TOOLS, ([],)),
    "output_config": Refusal(NO_STRUCTURE, ({},)),
    "output_format": Refusal(NO_STRUCTURE),
    "thinking": Refusal("this model does not think apart from its answer", ({"type": "disabled"},)),
    "tool_choice": Refusal(NO_TOOLS, ({"type": "auto"}, {"type": "none"})),
    "tools": Refusal(NO_TOOLS, ([],)),
}


class Turn(ApiRequest):
    """A message of the conversation."""

    role: Literal["user", "assistant"]
    content: Content


class CountTokensRequest(ApiRequest):
    """A conversation whose tokens are to be counted."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control"})
    refused: ClassVar[Mapping[str, Refusal]] = _REFUSED

    model: str
    messages: list[Turn]
    system: Content | None = None


class MessagesRequest(CountTokensRequest):
    """The body of a message. `seed`, `min_p` and `repetition_penalty` extend Anthropic's schema."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "inference_geo", "metadata"})
    refused: ClassVar[Mapping[str, Refusal]] = _REFUSED | {
        "service_tier": Refusal("this server has one tier", ("auto", "standard_only")),
        "speed": Refusal("this server has one speed", ("standard",)),
    }

    max_tokens: int = Field(ge=1)
    stop_sequences: list[str] = Field(default_factory=list)
    stream: bool = False
    temperature: float = Field(default=1.0, ge=0, le=1)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, lt=2**31)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)

    @property
    def sampling(self) -> SamplingFields:
        """The fields that pick tokens and end the text, by the names of the other APIs."""
        return SamplingFields(
            model=self.model,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            stop=self.stop_sequences,
        )


@router.post("/v1/messages", response_model=None)
async def messages(
    body: MessagesRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Answer a conversation."""
    context.check_model(body.model)
    config = context.config(body.sampling, max_tokens=body.max_tokens, max_tokens_field="max_tokens")
    chat = _chat(body)
    prompt = await context.encode_chat(chat, "messages")
    context.check_prompt(prompt, "messages")
    call = context.start(request, [prompt], config, stream=body.stream, prompt_text=chat)
    return await context.respond(request, call, _Answer(context, body, call))


@router.post("/v1/messages/count_tokens")
async def count_tokens(
    body: CountTokensRequest, context: Annotated[ServerContext, Depends(context_of)]
) -> dict[str, int]:
    """Count the tokens of a conversation, those of the chat template included."""
    context.check_model(body.model)
    return {"input_tokens": len(await context.encode_chat(_chat(body), "messages"))}


def _chat(body: CountTokensRequest) -> list[dict[str, str]]:
    """Return the conversation as chat templates know it."""
    system = [{"role": "system", "content": body.system}] if body.system else []
    return [*system, *({"role": turn.role, "content": turn.content} for turn in body.messages)]


class _Answer:
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: MessagesRequest, call: Call) -> None:
        self._tokenizer = context.model.tokenizer
        self._stops = body.stop_sequences
        self._call = call
        self._head: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": context.settings.model_name,
        }

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        content = [{"type": "text", "text": self._call.choices[0].text, "citations": None}]
        return self._head | {"content": content} | self._stop() | {"usage": self._usage()}

    async def events(self) -> AsyncGenerator[bytes]:
        # Nothing is known of the cache yet; message_delta has it.
        nothing = {"stop_reason": None, "stop_sequence": None, "stop_details": None, "container": None}
        start = self._head | {"content": [], "usage": self._usage()} | nothing
        yield event({"type": "message_start", "message": start}, "message_start")
        block = {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": "", "citations": None},
        }
        yield event(block, "content_block_start")
        async for _, piece in self._call.pieces():
            if piece.text:
                delta = {"type": "text_delta", "text": piece.text}
                yield event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
        yield event({"type": "content_block_stop", "index": 0}, "content_block_stop")
        yield event({"type": "message_delta", "delta": self._stop(), "usage": self._usage()}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")

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
        return empty | {"stop_reason": "end_turn" if found is None else "stop_sequence", "stop_sequence": found}

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
