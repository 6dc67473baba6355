"""FleetService: the texts of a server that workers compute. A text whose worker is lost goes on at another one."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import numpy as np
from dynamo.runtime import Context
from numpy.typing import NDArray

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import DeviceError, RequestError
from bitnet_tt.generation import Piece, Timings
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.scale.fleet import Fleet, Lease
from bitnet_tt.scale.messages import EmbeddingRequest, Frame, ScoreRequest, TextRequest
from bitnet_tt.server.structured_output import Grammar
from bitnet_tt.server.text_service import DeadlineError, Load, TextService

_MAX_LOSSES = 3
"""A text that loses this many workers one after the other, without a token between, ends in an error: it may be the
text that ends them."""


class _WorkerLostError(Exception):
    """The worker of a text cannot go on."""


@dataclass(slots=True)
class _Text:
    """A text that moves from worker to worker, and what its usage and timings need."""

    prompt: Sequence[int]
    tokens: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    first_token_at: float = 0.0
    reused_tokens: int = 0
    queue_seconds: float = 0.0

    def add(self, frame: Frame) -> None:
        """Note the tokens of a frame."""
        if not self.first_token_at:
            self.first_token_at = time.perf_counter()
            self.reused_tokens, self.queue_seconds = frame.reused_tokens, frame.queue_seconds
        for piece in frame.pieces:
            self.tokens += piece.token_ids

    def timings(self) -> Timings:
        """Return the timings of a text that has ended, as its frontend saw them."""
        return Timings(
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused_tokens,
            generated_tokens=len(self.tokens),
            first_token_seconds=self.first_token_at - self.began,
            decode_seconds=time.perf_counter() - self.first_token_at,
            queue_seconds=self.queue_seconds,
        )


class FleetService(TextService):
    """Generates, scores and embeds texts with the workers of a fleet.

    Args:
        fleet: The workers.
        max_waiting, timeout: See `TextService`.
        stall_seconds: A worker that says nothing for this long is passed over.
    """

    def __init__(self, fleet: Fleet, *, max_waiting: int, timeout: float | None = None, stall_seconds: float) -> None:
        super().__init__(max_running=0, max_waiting=max_waiting, timeout=timeout)
        self._fleet = fleet
        self._stall_seconds = stall_seconds
        self._contexts: set[Context] = set()
        self._cancelled = False

    @property
    def max_running(self) -> int:
        """How many texts the workers compute together now."""
        return sum(member.card.max_batch_size for member in self._fleet.members)

    async def stream(
        self,
        prompt_ids: Sequence[int],
        config: GenerationConfig,
        *,
        choice: int = 0,
        grammar: Grammar | None = None,
        cache_key: str = "",
    ) -> AsyncGenerator[Piece]:
        """Do what `TextService.stream` says. A text without a seed gets one here, which all its workers use."""
        if config.seed is None:
            config = replace(config, seed=secrets.randbits(64))
        text = _Text(prompt_ids)
        source = grammar.source if grammar else None
        losses = 0
        while not self._cancelled:
            before = len(text.tokens)
            request = TextRequest(prompt_ids, text.tokens, config, choice, cache_key, source)
            try:
                async with (
                    self._fleet.lease([*prompt_ids, *text.tokens], cache_key) as lease,
                    aclosing(self._frames(lease, request.to_json(), self._deadline(text.began))) as frames,
                ):
                    async for frame in frames:
                        if not frame.pieces:
                            continue
                        if len(text.tokens) == before:
                            await lease.prompt_is_computed()
                        text.add(frame)
                        *others, last = frame.pieces
                        for piece in others:
                            yield piece
                        if last.finish_reason is not None:
                            yield replace(last, timings=text.timings())
                            return
                        yield last
            except _WorkerLostError as error:
                losses = 1 if len(text.tokens) > before else losses + 1
                if losses == _MAX_LOSSES:
                    raise _too_many(error) from error

    async def score(self, token_ids: Sequence[int], top: int, *, cache_key: str = "") -> list[TokenLogprob | None]:
        """Do what `TextService.score` says."""
        frame = await self._whole(token_ids, cache_key, ScoreRequest(token_ids, top, cache_key).to_json())
        assert frame.scores is not None
        return [None, *frame.scores]

    async def embed(self, token_ids: Sequence[int], *, cache_key: str = "") -> NDArray[np.float32]:
        """Do what `TextService.embed` says."""
        frame = await self._whole(token_ids, cache_key, EmbeddingRequest(token_ids, cache_key).to_json())
        return np.array(frame.embedding, np.float32)

    async def _whole(self, token_ids: Sequence[int], cache_key: str, payload: str) -> Frame:
        """Return the one frame of an answer that is no text. If its worker is lost, another one begins again."""
        deadline = self._deadline(time.perf_counter())
        for attempt in range(_MAX_LOSSES):
            if self._cancelled:
                break
            try:
                async with (
                    self._fleet.lease(token_ids, cache_key) as lease,
                    aclosing(self._frames(lease, payload, deadline)) as frames,
                ):
                    async for frame in frames:
                        if frame.is_whole:
                            return frame
            except _WorkerLostError as error:
                if attempt + 1 == _MAX_LOSSES:
                    raise _too_many(error) from error
        raise DeviceError("the server ends")

    def load(self) -> Load:
        """Return what the fleet does for this server. The cache and its blocks are the workers' own business."""
        return Load(self.running, self.waiting, 0, 0, 0, 0, 0)

    def seconds_without_progress(self) -> float:
        """Return 0: workers that hang are passed over."""
        return 0.0

    def failure(self) -> str | None:
        """Return that there is no worker, if so."""
        return None if self._fleet.members else f"no worker of {self._fleet.card.name!r} is left"

    def cancel_all(self) -> None:
        """End every text early; their streams end without a finish reason."""
        self._cancelled = True
        for context in self._contexts:
            context.stop_generating()

    def _deadline(self, began: float) -> float | None:
        return None if self.timeout is None else began + self.timeout

    async def _frames(self, lease: Lease, payload: str, deadline: float | None) -> AsyncGenerator[Frame]:
        """Yield the frames of a worker's answer, until the answer is complete or `cancel_all` ends it.

        Raises:
            BitNetError: The request or the model is at fault.
            DeadlineError: The time of the text is over.
            _WorkerLostError: The worker left, was lost, or hangs.
        """
        context = Context()
        self._contexts.add(context)
        complete = False
        try:
            answer = await self._within(lease.call(payload, context), lease, deadline)
            while (text := await self._within(anext(answer, None), lease, deadline)) is not None:
                frame = Frame.from_json(text)
                if isinstance(frame.error, RequestError):
                    raise frame.error
                if frame.leaving or frame.error is not None:
                    raise _lost(lease, "it leaves" if frame.leaving else str(frame.error))
                complete = frame.is_whole or any(piece.finish_reason for piece in frame.pieces)
                yield frame
            if not self._cancelled:
                raise _lost(lease, "its answer ended early")
        finally:
            self._contexts.discard(context)
            if not complete:
                context.stop_generating()

    async def _within[T](self, result: Awaitable[T], lease: Lease, deadline: float | None) -> T:
        """Wait for something of a worker, within the time limits."""
        left = math.inf if deadline is None else max(deadline - time.perf_counter(), 0.0)
        try:
            async with asyncio.timeout(min(left, self._stall_seconds)):
                return await result
        except TimeoutError:
            if left <= self._stall_seconds:
                assert self.timeout is not None
                raise DeadlineError.after(self.timeout) from None
            raise _lost(lease, f"it said nothing for {self._stall_seconds:g} s") from None
        except Exception as error:  # the runtime has several types of errors for a worker that is lost
            raise _lost(lease, str(error)) from error


def _too_many(error: _WorkerLostError) -> DeviceError:
    return DeviceError(f"{_MAX_LOSSES} workers one after the other were lost by this text; the last one: {error}")


def _lost(lease: Lease, reason: str) -> _WorkerLostError:
    lease.fail(reason)
    return _WorkerLostError(reason)
