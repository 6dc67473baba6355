"""The engine for asyncio: streams, scores and embeddings that tasks await."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Self, Unpack

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.channel import LoopChannel
from bitnet_tt.engine.collect import Embedder, Scorer
from bitnet_tt.engine.engine import Engine, EngineStats
from bitnet_tt.engine.request import Request, RequestOptions
from bitnet_tt.generation import Piece
from bitnet_tt.sampling import TokenLogprob


class AsyncEngine:
    """Continues many prompts at once, for tasks of asyncio. It is thin over an `Engine`, which others may use too.

    The engine's thread computes and decodes. It calls an event loop once a step, for all streams of the loop. Nothing
    here blocks the loop. Tasks of several loops may share one object.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def stream(self, prompt: Sequence[int], config: GenerationConfig, **options: Unpack[RequestOptions]) -> AsyncStream:
        """Submit a prompt at once, and return its pieces: `async for piece in engine.stream(ids, config)`.

        Arguments are those of `Engine.request`. Call it in the event loop.

        Raises:
            DeviceError: The engine is closed.
            RequestError: The prompt is empty, fills the whole context, or has ids outside the vocabulary.
            DrainingError: `drain` was called.
            QueueFullError: The maximum number of requests wait already.
        """
        channel = _channel()
        request = self.engine.request(prompt, config, channel=channel, **options)
        self.engine.submit(request)
        return AsyncStream(self.engine, request, channel)

    async def score(self, token_ids: Sequence[int], *, top: int = 0, cache_key: str = "") -> list[TokenLogprob]:
        """Return the log-probability of each token after the first, see `Engine.score`."""
        self.engine.check_score(token_ids)
        scorer = Scorer(token_ids, top)
        if len(token_ids) > 1:
            channel = _channel()
            request = self.engine.score_request(token_ids[:-1], scorer.add, cache_key=cache_key, channel=channel)
            self.engine.submit(request)
            async for _ in AsyncStream(self.engine, request, channel):
                pass
        return scorer.logprobs

    async def embed(self, token_ids: Sequence[int], *, cache_key: str = "") -> NDArray[np.float32]:
        """Return the embedding of a text, float32 [hidden], see `Engine.embed`."""
        embedder, channel = Embedder(), _channel()
        request = self.engine.embedding_request(token_ids, embedder.set, cache_key=cache_key, channel=channel)
        self.engine.submit(request)
        async for _ in AsyncStream(self.engine, request, channel):
            pass
        return embedder.vector

    def stats(self) -> EngineStats:
        """Return how many blocks, requests and steps there are now."""
        return self.engine.stats()

    async def drain(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DrainingError, and wait until all others have ended; see `Engine.drain`."""
        import asyncio

        return await asyncio.to_thread(self.engine.drain, timeout)

    async def close(self) -> None:
        """Close the engine, and wait until the device is free."""
        self.engine.close()
        import asyncio

        await asyncio.to_thread(self.engine.join)


class AsyncStream:
    """The pieces of one request, for one task. Only the last piece has a finish reason.

    The request is cancelled if the stream is closed, if the task that waits for a piece is cancelled, and if nobody
    holds the stream any more: so also by `break` in `async for piece in engine.stream(...)`.

    Attributes:
        request: The request, to read: how many tokens it has so far, what it reused, when it began.
    """

    def __init__(self, engine: Engine, request: Request, channel: LoopChannel) -> None:
        self._engine = engine
        self.request = request
        self._channel = channel
        self._pieces: deque[Piece] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> Piece:
        """Wait for the next piece.

        Raises:
            DeviceError: The engine is closed, or the device failed.
        """
        try:
            while not self._pieces:
                if self._ended:
                    raise self.request.error or StopAsyncIteration
                self._engine.check_open()
                pieces, self._ended = await self._channel.get()
                self._pieces.extend(pieces)
            return self._pieces.popleft()
        except BaseException:
            self.cancel()
            raise

    async def aclose(self) -> None:
        """Cancel the request, if it has not ended. The stream has no more pieces."""
        self.cancel()

    def cancel(self) -> None:
        """Do what `aclose` does."""
        self._ended = True
        self._pieces.clear()
        self._engine.cancel(self.request)

    def __del__(self) -> None:
        """Cancel the request: nobody can read it any more."""
        self._engine.cancel(self.request)


def _channel() -> LoopChannel:
    """Return a channel to the running event loop. Programs without one do not wait for the import of asyncio."""
    import asyncio

    return LoopChannel(asyncio.get_running_loop())
