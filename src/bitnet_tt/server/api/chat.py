"""OpenAI's chat completions: POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field

from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.server.answer_parts import AnswerParts
from bitnet_tt.server.api.chat_fields import ChatFields, chat_deltas, chat_message
from bitnet_tt.server.api.formats import REFUSED_FORMATS, FormatFields
from bitnet_tt.server.api.logprobs import chat_logprobs
from bitnet_tt.server.api.openai_answer import OpenAIAnswer
from bitnet_tt.server.api.schema import NO_FUNCTIONS, STATELESS, TEXT_ONLY, Refusal, StreamFields
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.conversation import Conversation
from bitnet_tt.server.errors import invalid

router = APIRouter()


class ChatRequest(FormatFields, StreamFields, ChatFields):
    """The body of a chat completion."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {
            "metadata",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "user",
        }
    )
    refused: ClassVar[Mapping[str, Refusal]] = {
        **REFUSED_FORMATS,
        "audio": Refusal(TEXT_ONLY),
        "function_call": Refusal(NO_FUNCTIONS, ("none", "auto")),
        "functions": Refusal(NO_FUNCTIONS, ([],)),
        "modalities": Refusal(TEXT_ONLY, (["text"],)),
        "moderation": Refusal("this server has no moderation"),
        "prediction": Refusal("this server takes no predicted answer"),
        "reasoning_effort": Refusal("this model does not reason apart from its answer", ("none",)),
        "service_tier": Refusal("this server has one tier", ("auto", "default")),
        "store": Refusal(STATELESS, (False,)),
        "verbosity": Refusal("this model has no such setting", ("medium",)),
        "web_search_options": Refusal("this server does not use the network"),
    }

    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(
    body: ChatRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Answer a chat."""
    context.check_model(body.model)
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs needs logprobs: true", "top_logprobs")
    name, most = length_limit(body)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    config = context.config(body, max_tokens=most, max_tokens_field=name, logprobs=logprobs)
    conversation = body.conversation(body.answer_format)
    if conversation.tools is not None:
        body.check_end("tools")
    call = await conversation.start(context, request, config, n=body.n, stream=body.stream)
    return await context.respond(request, call, _Answer(context, body, call, conversation))


def length_limit(body: ChatRequest) -> tuple[str, int | None]:
    """Return the name and the value of the field that limits the length of the answer.

    Raises:
        ApiError: Both fields are given, with different values.
    """
    if body.max_completion_tokens is None:
        return "max_tokens", body.max_tokens
    if body.max_tokens not in (None, body.max_completion_tokens):
        raise invalid("max_tokens and max_completion_tokens differ; give only max_completion_tokens", "max_tokens")
    return "max_completion_tokens", body.max_completion_tokens


class _Answer(OpenAIAnswer):
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: ChatRequest, call: Call, conversation: Conversation) -> None:
        super().__init__(
            context,
            call,
            body.stream_options,
            prefix="chatcmpl",
            whole_kind="chat.completion",
            chunk_kind="chat.completion.chunk",
        )
        self._parts = {choice.index: conversation.parts(context) for choice in call.choices}
        self._logprobs = body.logprobs

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        choices: list[dict[str, Any]] = []
        for choice in self._call.choices:
            parts = self._parts[choice.index]
            choices.append(
                {
                    "index": choice.index,
                    "message": chat_message(parts.push_all(choice.text)),
                    "logprobs": self._entries(choice.logprobs),
                    "finish_reason": _finish_reason(choice.finish_reason, parts),
                }
            )
        return self._whole(choices)

    async def events(self) -> AsyncGenerator[bytes]:
        began: set[int] = set()
        held: dict[int, list[TokenLogprob]] = {choice.index: [] for choice in self._call.choices}
        async for choice, piece in self._call.pieces():
            held[choice.index] += piece.logprobs
            parts = self._parts[choice.index]
            deltas = list(chat_deltas(parts, piece.text, last=bool(piece.finish_reason)))
            if not deltas and piece.finish_reason and held[choice.index]:
                deltas = [{"content": ""}]
            for delta in deltas:
                # The role comes with the first text: clients take the first event for the first token.
                role = {} if choice.index in began else {"role": "assistant"}
                began.add(choice.index)
                yield self._delta(choice.index, role | delta, held.pop(choice.index), None)
                held[choice.index] = []
            if piece.finish_reason:
                role = {} if choice.index in began else {"role": "assistant", "content": ""}
                yield self._delta(choice.index, role, [], _finish_reason(piece.finish_reason, parts))
        for one in self._end():
            yield one

    def _delta(
        self, index: int, delta: dict[str, Any], entries: Sequence[TokenLogprob], finish_reason: str | None
    ) -> bytes:
        logprobs = self._entries(entries) if entries else None
        return self._chunk({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason})

    def _entries(self, entries: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return chat_logprobs(self._tokenizer, entries) if self._logprobs else None


def _finish_reason(reason: str | None, parts: AnswerParts) -> str | None:
    return "tool_calls" if reason == "stop" and parts.ends_with_call else reason
