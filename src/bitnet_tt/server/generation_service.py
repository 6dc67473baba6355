"""GenerationService: the texts of a model in this process. It is the one place where the server touches the engine.

The server is asyncio code in one thread. The engine computes on a thread of its own and calls the event loop once a
step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine, AsyncStream
from bitnet_tt.errors import DeviceError
from bitnet_tt.generation import Piece
from bitnet_tt.model import BitNetModel
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.server.structured_output import Grammar
from bitnet_tt.server.text_service import DeadlineError, Load, TextService


class GenerationService(TextService):
    """Generates, scores and embeds texts with a model of this process.

    Args:
        model: The model. The caller closes it, after `cancel_all`.
        max_running, max_waiting, timeout: See `TextService`.
    """

    def __init__(self, model: BitNetModel, *, max_running: int, max_waiting: int, timeout: float | None = None) -> None:
        super().__init__(max_running=max_running, max_waiting=max_waiting, timeout=timeout)
        self._engine = AsyncEngine(model.engine)
        self._streams: WeakSet[AsyncStream] = WeakSet()

    async def stream(
        self,
        prompt_ids: Sequence[int],
        config: GenerationConfig,
        *,
        choice: int = 0,
        grammar: Grammar | None = None,
        cache_key: str = "",
    ) -> AsyncGenerator[Piece]:
        """Do what `TextService.stream` says."""
        constraint = grammar.constraint() if grammar else None
        stream = self._engine.stream(
            prompt_ids, config, choice=choice, constraint=constraint, timeout=self.timeout, cache_key=cache_key
        )
        self._streams.add(stream)
        async with aclosing(stream):
            async for piece in stream:
                if piece.finish_reason == "cancelled":  # by `cancel_all`
                    return
                if piece.finish_reason == "timeout":
                    assert self.timeout is not None
                    raise DeadlineError.after(self.timeout)
                yield piece

    async def score(self, token_ids: Sequence[int], top: int, *, cache_key: str = "") -> list[TokenLogprob | None]:
        """Do what `TextService.score` says."""
        try:
            async with asyncio.timeout(self.timeout):
                return [None, *await self._engine.score(token_ids, top=top, cache_key=cache_key)]
        except TimeoutError:
            assert self.timeout is not None
            raise DeadlineError.after(self.timeout) from None

    async def embed(self, token_ids: Sequence[int], *, cache_key: str = "") -> NDArray[np.float32]:
        """Do what `TextService.embed` says."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._engine.embed(token_ids, cache_key=cache_key)
        except TimeoutError:
            assert self.timeout is not None
            raise DeadlineError.after(self.timeout) from None

    def load(self) -> Load:
        """Return what the engine does now."""
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
        """Return how long the engine's current step takes already."""
        return self._engine.stats().step_seconds

    def failure(self) -> str | None:
        """Return why the engine can generate no text any more; None if it works."""
        try:
            self._engine.engine.check_open()
        except DeviceError as error:
            return str(error)
        return None

    def cancel_all(self) -> None:
        """End every text early; their streams end without a finish reason."""
        for stream in list(self._streams):
            stream.cancel()
