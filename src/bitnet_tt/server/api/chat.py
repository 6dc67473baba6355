"""OpenAI's chat completions: POST /v1/chat/completions."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field

from bitnet_tt.errors import RequestError
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.server.api.chat_tools import (
    CallDeltas,
    ToolChoice,
    ToolField,
    ToolUse,
    template_has_tools,
    tool_use,
    whole_message,
    with_tools,
)
from bitnet_tt.server.api.logprobs import chat_logprobs
from bitnet_tt.server.api.schema import (
    NO_FUNCTIONS,
    STATELESS,
    TEXT_ONLY,
    ChatMessage,
    Refusal,
    ResponseFormat,
    SamplingFields,
    StreamOptions,
)
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.event_stream import DONE, event
from bitnet_tt.server.structured_output import Grammar
from bitnet_tt.server.tools import ToolCallParser

router = APIRouter()


class ChatRequest(SamplingFields):
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

    messages: list[ChatMessage]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat = Field(default_factory=lambda: ResponseFormat(type="text"))
    tools: list[ToolField] = Field(default_factory=list, max_length=128)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)


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
    use = _tool_use(body)
    grammar = await _grammar(context, body, use)
    messages, options = _for_template(context, [message.for_template() for message in body.messages], use)
    prompt = await context.encode_chat(messages, "messages", **options)
    context.check_prompt(prompt, "messages")
    call = context.start(request, [prompt], config, n=body.n, stream=body.stream, prompt_text=messages, grammar=grammar)
    return await context.respond(request, call, _Answer(context, body, call, has_tools=use is not None))


def _tool_use(body: ChatRequest) -> ToolUse | None:
    try:
        return tool_use(body.tools, body.tool_choice, parallel=body.parallel_tool_calls)
    except RequestError as error:
        raise invalid(str(error), "tools") from error


async def _grammar(context: ServerContext, body: ChatRequest, use: ToolUse | None) -> Grammar | None:
    """Return the grammar of the answer, by its format or its tools."""
    form = body.response_format
    if form.type == "text" and use is None:
        return None
    if form.type != "text" and use is not None:
        raise invalid("response_format cannot be combined with tools", "response_format")
    if body.ignore_eos:
        raise invalid(
            "ignore_eos cannot be combined with response_format or tools: the answer has an end", "ignore_eos"
        )
    if use is not None:
        lark = use.grammar
        return await context.grammar(lambda compiler: compiler.from_lark(lark), "tools")
    if form.json_schema is None:
        return await context.grammar(lambda compiler: compiler.from_json_object(), "response_format")
    schema = form.json_schema.schema_
    return await context.grammar(lambda compiler: compiler.from_json_schema(schema), "response_format")


def _for_template(
    context: ServerContext, messages: list[dict[str, Any]], use: ToolUse | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the messages and the options for the chat template, which may show tools itself."""
    if not template_has_tools(context.model.tokenizer):
        return with_tools(messages, use), {}
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = _parse_arguments(call["function"]["arguments"])
    shown = [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in (use.tools if use is not None else ())
    ]
    return messages, {"variables": {"tools": shown or None}}


def _parse_arguments(text: str) -> Any:
    """Return the arguments of an earlier call as an object, which templates expect; as text if they are no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


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


class _Answer:
    """The shapes of the answer to one request."""

    def __init__(self, context: ServerContext, body: ChatRequest, call: Call, *, has_tools: bool) -> None:
        self._call = call
        self._has_tools = has_tools
        self._context = context
        self._tokenizer = context.model.tokenizer
        self._logprobs = body.logprobs
        self._usage_in_stream = body.stream_options.include_usage
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": context.settings.model_name,
            "system_fingerprint": context.fingerprint,
        }

    async def whole(self) -> dict[str, Any]:
        await self._call.finish()
        choices: list[dict[str, Any]] = []
        for choice in self._call.choices:
            deltas = self._deltas()
            message = whole_message(deltas, choice.text)
            choices.append(
                {
                    "index": choice.index,
                    "message": message,
                    "logprobs": self._entries(choice.logprobs),
                    "finish_reason": _finish_reason(choice.finish_reason, deltas),
                }
            )
        return self._head | {"choices": choices, "usage": self._call.usage.as_dict()}

    async def events(self) -> AsyncGenerator[bytes]:
        began: set[int] = set()
        held: dict[int, list[TokenLogprob]] = {choice.index: [] for choice in self._call.choices}
        calls = {choice.index: self._deltas() for choice in self._call.choices}
        async for choice, piece in self._call.pieces():
            held[choice.index] += piece.logprobs
            deltas = list(calls[choice.index].push(piece.text, last=bool(piece.finish_reason)))
            if not deltas and piece.finish_reason and held[choice.index]:
                deltas = [{"content": ""}]
            for delta in deltas:
                # The role comes with the first text: clients take the first event for the first token.
                role = {} if choice.index in began else {"role": "assistant"}
                began.add(choice.index)
                yield self._chunk(choice.index, role | delta, held.pop(choice.index), None)
                held[choice.index] = []
            if piece.finish_reason:
                role = {} if choice.index in began else {"role": "assistant", "content": ""}
                yield self._chunk(choice.index, role, [], _finish_reason(piece.finish_reason, calls[choice.index]))
        if self._usage_in_stream:
            yield event(self._chunk_head() | {"choices": [], "usage": self._call.usage.as_dict()})
        yield DONE

    def failure(self, body: dict[str, Any]) -> bytes:
        return event(body) + DONE

    def _deltas(self) -> CallDeltas:
        return CallDeltas(ToolCallParser() if self._has_tools else None)

    def _chunk(
        self, index: int, delta: dict[str, Any], entries: Sequence[TokenLogprob], finish_reason: str | None
    ) -> bytes:
        logprobs = self._entries(entries) if entries else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        usage = {"usage": None} if self._usage_in_stream else {}
        return event(self._chunk_head() | {"choices": [choice]} | usage)

    def _chunk_head(self) -> dict[str, Any]:
        return self._head | {"object": "chat.completion.chunk"}

    def _entries(self, entries: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return chat_logprobs(self._tokenizer, entries) if self._logprobs else None


def _finish_reason(reason: str | None, deltas: CallDeltas) -> str | None:
    return "tool_calls" if reason == "stop" and deltas.called else reason
