"""ServerContext: what every route needs, and the steps that several APIs share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bitnet_tt.config import GenerationConfig
from bitnet_tt.energy import EnergyCounters
from bitnet_tt.errors import BitNetError, ConfigError
from bitnet_tt.server.api.schema import SamplingFields
from bitnet_tt.server.calls import Call
from bitnet_tt.server.errors import ApiError, ClientGoneError, api_error, error_body, internal, invalid
from bitnet_tt.server.event_stream import EventStream, until_gone
from bitnet_tt.server.metrics import Metrics
from bitnet_tt.server.request_log import RequestLog, RequestRecord
from bitnet_tt.server.served_model import ServedModel
from bitnet_tt.server.settings import ServerSettings
from bitnet_tt.server.structured_output import Grammar, GrammarCompiler
from bitnet_tt.server.text_service import TextService

_LONG_TEXT = 1 << 16
"""Texts with more characters than this are encoded one at a time."""


class Answer(Protocol):
    """The shapes of one API's answer to one call."""

    async def whole(self) -> dict[str, Any]:
        """Return the answer as one JSON object, once it is complete."""

    def events(self) -> AsyncGenerator[bytes]:
        """Yield the answer as server-sent events."""

    def failure(self, body: dict[str, Any]) -> bytes:
        """Return the last events of a stream that failed; `body` is that of the error's response."""


@dataclass
class ServerContext:
    """The model, its service and the settings of one server.

    Attributes:
        draining: Whether the server takes no more requests, because it is to end.
        active: How many requests are being answered.
    """

    model: ServedModel
    settings: ServerSettings
    service: TextService
    metrics: Metrics
    log: RequestLog
    started_at: int
    draining: bool = False
    active: int = 0

    @classmethod
    def create(
        cls, model: ServedModel, service: TextService, settings: ServerSettings, log: RequestLog
    ) -> ServerContext:
        """Make the context of a server that starts now."""
        return cls(model, settings, service, Metrics(service.load, EnergyCounters()), log, int(time.time()))

    @cached_property
    def compiler(self) -> GrammarCompiler:
        """The compiler of grammars for the model's vocabulary. It is made when the first request needs it."""
        return GrammarCompiler(self.model.tokenizer, self.model.vocab_size, self.model.eos_token_ids)

    def check_model(self, name: str | None) -> None:
        """Check that a request means the model that is here. Where the name may be missing, it does without one.

        Raises:
            ApiError: It means another one (404).
        """
        if name is not None and name != self.settings.model_name:
            message = f"there is no model {name[:200]!r}; this server has {self.settings.model_name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    async def encode(self, text: str, param: str, **options: Any) -> list[int]:
        """Convert a prompt to ids. Control tokens in it are text, unless the options of `Tokenizer.encode` say else.

        Raises:
            ApiError: It cannot be encoded.
        """
        options = {"parse_special": False} | options
        executor = self._long_texts if len(text) > _LONG_TEXT else None
        ids: list[int] = await self._in_thread(param, self.model.tokenizer.encode, text, executor=executor, **options)
        return ids

    async def encode_chat(self, messages: Sequence[Mapping[str, Any]], param: str, **options: Any) -> list[int]:
        """Convert a chat to ids with the model's chat template.

        Raises:
            ApiError: There are no messages or too many, the model has no template, or the template refuses them.
        """
        self.check_messages(messages, param)
        size = sum(len(message.get("content") or "") for message in messages)
        executor = self._long_texts if size > _LONG_TEXT else None
        encode = self.model.tokenizer.apply_chat_template
        ids: list[int] = await self._in_thread(param, encode, messages, executor=executor, **options)
        return ids

    async def render_chat(self, messages: Sequence[Mapping[str, Any]], param: str, **options: Any) -> str:
        """Render a chat to text as `encode_chat` does to ids."""
        self.check_messages(messages, param)
        text: str = await self._in_thread(param, self.model.tokenizer.render_chat, messages, **options)
        return text

    def check_messages(self, messages: Sequence[object], param: str) -> None:
        """Check the number of messages.

        Raises:
            ApiError: There is none, or there are too many.
        """
        limit = self.settings.limits.messages
        if not messages:
            raise invalid(f"{param} needs at least one message", param)
        if len(messages) > limit:
            raise invalid(f"{param} has {len(messages)} messages; this server takes {limit}", param)

    def check_prompt(self, token_ids: Sequence[int], param: str, *, new_tokens: int = 1) -> None:
        """Check the ids of a prompt.

        Raises:
            ApiError: It is empty or too long, or has ids that the model does not have.
        """
        limit = self.model.context_length
        if not token_ids:
            raise invalid(f"{param} is empty; give it at least one token", param)
        if len(token_ids) + new_tokens > limit:
            message = (
                f"{param} has {len(token_ids)} tokens, but this model's context holds {limit}, the answer included; "
                "shorten it"
            )
            raise invalid(message, param, "context_length_exceeded")
        self.check_ids(token_ids, param)

    def check_ids(self, token_ids: Sequence[int], param: str) -> None:
        """Check that the model has all ids.

        Raises:
            ApiError: It does not have one.
        """
        vocabulary = self.model.vocab_size
        wrong = next((token_id for token_id in token_ids if not 0 <= token_id < vocabulary), None)
        if wrong is not None:
            raise invalid(f"{param} has the token id {wrong}; the ids of this model are 0 to {vocabulary - 1}", param)

    def config(
        self,
        request: SamplingFields,
        *,
        max_tokens: int | None,
        max_tokens_field: str,
        logprobs: int | None = None,
    ) -> GenerationConfig:
        """Return the generation settings of a request.

        Args:
            request: Its sampling fields.
            max_tokens: The length of the answer that it asks for. None means as many as the context holds.
            max_tokens_field: The name of that field, for errors.
            logprobs: How many alternatives to report for each token. None reports nothing.

        Raises:
            ApiError: A value is out of range, or the engine does not support a field.
        """
        limits = self.settings.limits
        if request.n > limits.choices:
            raise invalid(f"n is {request.n}; this server gives at most {limits.choices} choices", "n")
        if max_tokens is not None and limits.new_tokens is not None and max_tokens > limits.new_tokens:
            message = f"{max_tokens_field} is {max_tokens}; this server generates at most {limits.new_tokens} tokens"
            raise invalid(message, max_tokens_field)
        self._check_stop(request.stop_strings)
        options: dict[str, Any] = {
            "max_new_tokens": limits.new_tokens if max_tokens is None else max_tokens,
            "temperature": request.temperature,
            "top_k": max(request.top_k, 0),
            "top_p": request.top_p,
            "min_p": request.min_p,
            "repetition_penalty": request.repetition_penalty,
            "stop": request.stop_strings,
            "stop_token_ids": request.stop_token_ids,
            "ignore_eos": request.ignore_eos,
            "seed": None if request.seed is None else request.seed % 2**64,
            "logprobs": logprobs,
        }
        for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
            if value := getattr(request, name):
                options[name] = self._logit_bias(value) if name == "logit_bias" else value
        try:
            return GenerationConfig(**options)
        except ConfigError as error:
            param = str(error).partition(" ")[0]
            raise invalid(str(error), max_tokens_field if param == "max_new_tokens" else param) from error

    def start(
        self,
        request: Request,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        n: int = 1,
        score_top: int | None = None,
        stream: bool = False,
        prompt_text: object = None,
        grammar: Grammar | None = None,
    ) -> Call:
        """Start to generate the texts of a request. The caller closes the call.

        Raises:
            ApiError: There is no room (429).
        """
        record = record_of(request)
        call = Call(
            self.service,
            prompts,
            config,
            n=n,
            score_top=score_top,
            cache_key=record.key,
            grammar=grammar,
            record=record,
            metrics=self.metrics,
        )
        record.stream = stream
        record.prompt = prompt_text if self.log.with_text else None
        return call

    async def grammar(self, compile_it: Callable[[GrammarCompiler], Grammar], param: str) -> Grammar:
        """Compile a grammar beside the event loop.

        Args:
            compile_it: Calls one of the compiler's methods.
            param: The field of the request that it comes from, for errors.

        Raises:
            ApiError: The grammar is not valid or cannot be enforced.
        """
        grammar: Grammar = await self._in_thread(param, lambda: compile_it(self.compiler))
        return grammar

    async def respond(self, request: Request, call: Call, answer: Answer) -> Response:
        """Return the response of a call: events if its record says that it streams, else one JSON object.

        The call is closed at the end, or when the client leaves.
        """
        if record_of(request).stream:
            return EventStream(
                self._with_errors(request, answer),
                call.close,
                keep_alive_seconds=self.settings.keep_alive_seconds,
                write_seconds=self.settings.limits.write_seconds,
            )
        try:
            return JSONResponse(await until_gone(request, answer.whole()))
        finally:
            call.close()

    async def _with_errors(self, request: Request, answer: Answer) -> AsyncGenerator[bytes]:
        """Yield the events of an answer; an error becomes the last of them, because the status 200 was sent already."""
        record = record_of(request)
        events = answer.events()
        try:
            async for one in events:
                yield one
        except ClientGoneError:
            raise
        except Exception as error:
            told = error if isinstance(error, ApiError) else internal()
            if told is not error:
                self.log.bug(record, error)
            record.error = self.log.describe(told)
            yield answer.failure(error_body(told, request.url.path))
        finally:
            await events.aclose()

    @cached_property
    def _long_texts(self) -> ThreadPoolExecutor:
        """The one thread that encodes long texts.

        The tokenizer takes about 180 bytes for each byte of a text, and each thread keeps its part of the heap.
        """
        return ThreadPoolExecutor(1, "long texts")

    async def _in_thread(
        self,
        param: str,
        work: Callable[..., Any],
        *arguments: Any,
        executor: ThreadPoolExecutor | None = None,
        **options: Any,
    ) -> Any:
        """Run slow work of the tokenizer beside the event loop, by default in one of the loop's own threads."""
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, partial(work, *arguments, **options))
        except BitNetError as error:
            raise api_error(error, param) from error
        except RecursionError:
            raise invalid(f"{param} is nested too deep", param) from None

    def _check_stop(self, strings: Sequence[str]) -> None:
        limits = self.settings.limits
        if len(strings) > limits.stop_strings:
            raise invalid(f"stop has {len(strings)} strings; this server takes {limits.stop_strings}", "stop")
        for text in strings:
            if not text:
                raise invalid("stop has an empty string; it would end every text at once", "stop")
            if len(text) > limits.stop_length:
                raise invalid(
                    f"stop has a string of {len(text)} characters; this server takes {limits.stop_length}", "stop"
                )

    def _logit_bias(self, biases: Mapping[str, float]) -> dict[int, float]:
        vocabulary = self.model.vocab_size
        result = {}
        for token_id, bias in biases.items():
            if not (token_id.isascii() and token_id.isdigit() and len(token_id) < 10 and int(token_id) < vocabulary):
                raise invalid(
                    f"logit_bias has the key {token_id[:40]!r}; keys are token ids, 0 to {vocabulary - 1}", "logit_bias"
                )
            if not -100 <= bias <= 100:
                raise invalid(f"logit_bias[{token_id}] is {bias}; it must be from -100 to 100", "logit_bias")
            result[int(token_id)] = bias
        return result


def record_of(request: Request) -> RequestRecord:
    """Return the log's record of a request."""
    record: RequestRecord = request.scope["state"]["record"]
    return record


async def context_of(request: Request) -> ServerContext:
    """Return the context of the server that a request came to. Routes get it by FastAPI's `Depends`.

    It is a coroutine because FastAPI calls other functions in a thread of their own, once a request.
    """
    context: ServerContext = request.app.state.context
    return context
