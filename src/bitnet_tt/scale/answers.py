"""Answers: what a worker's engine has for one request, as frames, with signs of life between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from bitnet_tt.engine import AsyncStream
from bitnet_tt.errors import BitNetError
from bitnet_tt.generation import Piece
from bitnet_tt.scale.messages import ALIVE, LEAVING, Frame

ALIVE_SECONDS = 0.5
"""A worker without news says that it lives as often as this."""


class Answers:
    """Turns a stream of the engine into frames for a frontend. Tasks of one event loop call it.

    Pieces that come while a frame is being sent go into the next one together.

    Args:
        stream: The pieces of the text.
        is_alive: Returns whether the engine makes progress. While it does not, there are no signs of life.
    """

    def __init__(self, stream: AsyncStream, is_alive: Callable[[], bool]) -> None:
        self._stream = stream
        self._is_alive = is_alive
        self._pieces: list[Piece] = []
        self._news = asyncio.Event()
        self._leaving = False
        self._stopped = False
        self._error: BitNetError | None = None
        self._reader = asyncio.ensure_future(self._read())

    def leave(self) -> None:
        """Hand the text over: the next frame says that the worker ends."""
        self._leaving = True
        self._news.set()

    def stop(self) -> None:
        """End the frames, because nobody reads them any more."""
        self._stopped = True
        self._news.set()

    async def frames(self) -> AsyncGenerator[str]:
        """Yield the frames. Closing the generator cancels the text."""
        try:
            while not self._stopped:
                try:
                    async with asyncio.timeout(ALIVE_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    if self._is_alive():
                        yield ALIVE
                    continue
                self._news.clear()
                if self._leaving:
                    yield LEAVING
                    return
                pieces, self._pieces = self._pieces, []
                if pieces:
                    request = self._stream.request
                    queued = request.started_at - request.submitted_at
                    yield Frame(pieces, reused_tokens=request.reused, queue_seconds=queued).to_json()
                if self._error is not None:
                    yield Frame(error=self._error).to_json()
                if self._error is not None or (pieces and pieces[-1].finish_reason is not None):
                    return
        finally:
            self._reader.cancel()
            self._stream.cancel()

    async def _read(self) -> None:
        try:
            async for piece in self._stream:
                self._pieces.append(piece)
                self._news.set()
        except BitNetError as error:
            self._error = error
            self._news.set()
