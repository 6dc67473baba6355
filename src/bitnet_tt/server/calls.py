"""Call: the texts that one request has generated and scored, from admission to usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import BitNetError
from bitnet_tt.generation import Piece
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.server.errors import ApiError, api_error, invalid, unavailable
from bitnet_tt.server.metrics import Metrics
from bitnet_tt.server.request_log import RequestRecord
from bitnet_tt.server.structured_output import Grammar
from bitnet_tt.server.text_service import DeadlineError, QueueFullError, TextService


@dataclass(slots=True)
class Choice:
    """One text that is generated.

    Attributes:
        index: Its number among the choices of the request.
        prompt: The number of its prompt.
        number: Its number among the choices of its prompt.
        prompt_ids: The ids of its prompt.
        config: How to pick its tokens.
        texts: The pieces of text so far.
        token_ids: The tokens so far.
        logprobs: An entry for each token, if the request asks for them.
        finish_reason: `stop` or `length`; `timeout` if its time was over; None until it ends.
        cached_tokens: Tokens of the prompt that were in the KV cache.
    """

    index: int
    prompt: int
    number: int
    prompt_ids: Sequence[int]
    config: GenerationConfig
    texts: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None
    cached_tokens: int = 0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.texts)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the client gets counted. Only `cached_tokens` depends on what else the server has done."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    def as_dict(self) -> dict[str, object]:
        """Return the usage in the shape of OpenAI's completions."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


type Entries = list[TokenLogprob | None]
"""The log-probability of each token of a text. That of the first token is None."""


class Call:
    """Generates `n` texts for each of some prompts, and may score the prompts. All starts at once; `close` ends it.

    Args:
        service: Generates the texts.
        prompts: The ids of each prompt.
        config: How to pick tokens. Each choice of a prompt has random numbers of its own.
        n: Choices of each prompt; 0 generates nothing.
        score_top: Score the tokens of the prompts too, with this many alternatives. None does not.
        cache_key: Prefixes in the KV cache are shared only among calls with equal keys.
        grammar: Every text fits it; None allows all texts.
        record: Gets what the log says.
        metrics: Gets what is counted.

    Raises:
        ApiError: There is no room for the texts now (429), or the server can never take so many (400).
    """

    def __init__(
        self,
        service: TextService,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        n: int = 1,
        score_top: int | None = None,
        cache_key: str = "",
        grammar: Grammar | None = None,
        record: RequestRecord,
        metrics: Metrics,
    ) -> None:
        self._grammar = grammar
        self._service = service
        self._record = record
        self._metrics = metrics
        self._prompts = prompts
        self._cache_key = cache_key
        self._results: asyncio.Queue[tuple[Choice, Piece | BaseException | None]] = asyncio.Queue()
        self.choices = [
            Choice(prompt * n + number, prompt, number, prompt_ids, config)
            for prompt, prompt_ids in enumerate(prompts)
            for number in range(n)
        ]
        scored = () if score_top is None else prompts
        admit(service, len(self.choices) + len(scored))
        self._tasks = [asyncio.ensure_future(self._generate(choice)) for choice in self.choices]
        self._scores = [
            asyncio.ensure_future(service.score(ids, score_top or 0, cache_key=cache_key)) for ids in scored
        ]
        for task in (*self._tasks, *self._scores):
            task.add_done_callback(lambda _: service.release())
        record.prompt_tokens = sum(map(len, prompts))

    @property
    def usage(self) -> Usage:
        """The usage so far. A prompt counts once, however many choices it has."""
        n = max(len(self.choices) // max(len(self._prompts), 1), 1)
        return Usage(
            prompt_tokens=sum(map(len, self._prompts)),
            completion_tokens=sum(len(choice.token_ids) for choice in self.choices),
            cached_tokens=sum(choice.cached_tokens for choice in self.choices[::n]),
        )

    async def pieces(self) -> AsyncGenerator[tuple[Choice, Piece]]:
        """Yield the pieces of all choices as they come, each with its choice, which already includes it.

        Raises:
            ApiError: A text could not be generated, or the server ends.
        """
        left = len(self.choices)
        while left:
            choice, result = await self._results.get()
            if isinstance(result, BaseException):
                raise api_error(result)
            if result is not None:
                self._note(choice, result)
                yield choice, result
                continue
            if choice.finish_reason is None:
                message = "the server ended before the answer; send the request again"
                raise unavailable(message, "shutting_down")
            left -= 1

    async def scores(self) -> list[Entries]:
        """Return the scores of each prompt; nothing if they are not asked for.

        Raises:
            ApiError: A prompt could not be scored.
        """
        try:
            return [await score for score in self._scores]
        except (BitNetError, DeadlineError) as error:
            raise api_error(error) from error

    async def finish(self) -> None:
        """Generate all texts to their end. Errors are those of `pieces`."""
        async for _ in self.pieces():
            pass

    def close(self) -> None:
        """End all that is still computed. A second call does nothing."""
        for score in self._scores:
            score.cancel()
        for choice, task in zip(self.choices, self._tasks, strict=True):
            if task.cancel() and choice.finish_reason is None:
                self._metrics.cancelled(len(choice.prompt_ids))
        self._record.finish_reasons = [choice.finish_reason or "cancelled" for choice in self.choices]
        self._record.completion_tokens = self.usage.completion_tokens
        self._record.cached_tokens = self.usage.cached_tokens
        self._record.answer = [choice.text for choice in self.choices]

    def _note(self, choice: Choice, piece: Piece) -> None:
        if self._record.first_token_seconds is None:
            self._record.first_token_seconds = time.perf_counter() - self._record.started
        if piece.text:
            choice.texts.append(piece.text)
        choice.token_ids += piece.token_ids
        choice.logprobs += piece.logprobs
        if piece.finish_reason is not None and piece.timings is not None:
            choice.finish_reason = piece.finish_reason
            choice.cached_tokens = piece.timings.reused_tokens
            self._metrics.finished(piece.finish_reason, piece.timings)

    async def _generate(self, choice: Choice) -> None:
        stream = self._service.stream(
            choice.prompt_ids,
            choice.config,
            choice=choice.number,
            cache_key=self._cache_key,
            grammar=self._grammar,
        )
        last: float | None = None  # when the last tokens came
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    if piece.token_ids:
                        now = time.perf_counter()
                        self._metrics.generated(len(piece.token_ids), None if last is None else now - last)
                        last = now
                    self._results.put_nowait((choice, piece))
        except Exception as error:
            if isinstance(error, DeadlineError):
                choice.finish_reason = "timeout"  # for the log
            self._results.put_nowait((choice, error))
        else:
            self._results.put_nowait((choice, None))


def admit(service: TextService, count: int) -> None:
    """Take room for texts.

    Raises:
        ApiError: There is no room now (429), or the server can never take so many (400).
    """
    most = service.max_running + service.max_waiting
    if count > most:
        raise invalid(f"the request asks for {count} texts at once; this server takes {most}", "n")
    try:
        service.admit(count)
    except QueueFullError:
        message = f"{service.waiting} texts wait already, and the queue takes {service.max_waiting}; try again later"
        raise ApiError(429, message, kind="rate_limit_error", code="queue_full", retry_after=1) from None
