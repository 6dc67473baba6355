"""GenerationService: the one place where the server touches the engine.

The server is asyncio code in one thread. The engine computes on a thread of its own and calls the event loop once a
step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from weakref import WeakSet

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine, AsyncStream
from bitnet_tt.errors import DeviceError
from bitnet_tt.generation import Piece
from bitnet_tt.model import BitNetModel
from bitnet_tt.sampling import Constraint, TokenLogprob


class QueueFullError(Exception):
    """There is no room for the texts of a request; the client should try again later."""


class DeadlineError(Exception):
    """A text was not complete when its time was over."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the service does at one moment.

    Attributes:
        running: Texts that are computed.
        waiting: Texts that wait for a place in the batch.
        blocks: Blocks of the KV cache.
        used_blocks: Blocks that running texts hold.
        preemptions: How often a running text gave its blocks back and waited again.
        draft_tokens: Tokens that speculation drafted.
        accepted_tokens: How many of them were right.
    """

    running: int
    waiting: int
    blocks: int
    used_blocks: int
    preemptions: int
    draft_tokens: int
    accepted_tokens: int


class GenerationService:
    """Generates and scores texts for asyncio code. Everything is called in the thread of the event loop.

    Args:
        model: The model. The caller closes it, after `cancel_all`.
        max_running: How many texts the engine computes together.
        max_waiting: How many more texts may wait.
        timeout: Maximum time of a text from its arrival to its end, in seconds. None means no limit.
    """

    def __init__(self, model: BitNetModel, *, max_running: int, max_waiting: int, timeout: float | None = None) -> None:
        self._engine = AsyncEngine(model.engine)
        self._streams: WeakSet[AsyncStream] = WeakSet()
        self._admitted = 0
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.timeout = timeout

    @property
    def running(self) -> int:
        """How many texts are computed now."""
        return min(self._admitted, self.max_running)

    @property
    def waiting(self) -> int:
        """How many texts wait now."""
        return self._admitted - self.running

    def admit(self, count: int) -> None:
        """Take room for texts, all of them or none. The caller gives it back by `release`, one text at a time.

        Raises:
            QueueFullError: There is no room.
        """
        if self._admitted + count > self.max_running + self.max_waiting:
            raise QueueFullError
        self._admitted += count

    def release(self) -> None:
        """Give the room of one text back."""
        self._admitted -= 1

    async def stream(
        self,
        prompt_ids: Sequence[int],
        config: GenerationConfig,
        *,
        choice: int = 0,
        constraint: Constraint | None = None,
        cache_key: str = "",
    ) -> AsyncGenerator[Piece]:
        """Continue a prompt and yield the text as it is generated. Closing the generator cancels it, in any phase.

        Args:
            prompt_ids: Token ids.
            config: How to pick tokens and when to stop.
            choice: Which of several texts of the same prompt and seed this is.
            constraint: Says which tokens may come next; None allows all.
            cache_key: Prefixes in the KV cache are shared only among requests with equal keys.

        Raises:
            RequestError: The prompt is empty, too long, or has ids outside the vocabulary.
            DeviceError: The model is closed.
            DeadlineError: The time of the text is over.
        """
        stream = self._engine.stream(
            prompt_ids, config, choice=choice, constraint=constraint, timeout=self.timeout, cache_key=cache_key
        )
        self._streams.add(stream)
        async with aclosing(stream):
            async for piece in stream:
                if piece.finish_reason == "cancelled":  # by `cancel_all`
                    return
                if piece.finish_reason == "timeout":
                    raise self._deadline_error()
                yield piece

    async def score(self, token_ids: Sequence[int], top: int, *, cache_key: str = "") -> list[TokenLogprob | None]:
        """Return the log-probability of each token of a text; that of the first is None.

        Args:
            token_ids: The text.
            top: How many of the most probable tokens to report at each position.
            cache_key: As in `stream`.

        Raises:
            RequestError: The text is empty, longer than the context, or has ids outside the vocabulary.
            DeviceError: The model is closed.
            DeadlineError: The time of the text is over.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return [None, *await self._engine.score(token_ids, top=top, cache_key=cache_key)]
        except TimeoutError:
            raise self._deadline_error() from None

    def _deadline_error(self) -> DeadlineError:
        return DeadlineError(
            f"the answer was not complete within {self.timeout:g} seconds, the limit of this server; "
            "ask for fewer tokens, or send the request again when the server has less to do"
        )

    def load(self) -> Load:
        """Return what the service does now."""
        stats = self._engine.stats()
        return Load(
            running=self.running,
            waiting=self.waiting,
            blocks=stats.blocks,
            used_blocks=stats.blocks - stats.free_blocks,
            preemptions=stats.preemptions,
            draft_tokens=stats.draft_tokens,
            accepted_tokens=stats.accepted_tokens,
        )

    def seconds_without_progress(self) -> float:
        """Return how long the current step takes already; 0 between two steps. If the device hangs, it grows."""
        return self._engine.stats().step_seconds

    def failure(self) -> str | None:
        """Return why no text can be generated any more; None if the engine works."""
        try:
            self._engine.engine.check_open()
        except DeviceError as error:
            return str(error)
        return None

    def cancel_all(self) -> None:
        """End every text early; their streams end without a finish reason."""
        for stream in list(self._streams):
            stream.cancel()
