"""Server-sent events: a response that is sent piece by piece, and ends its work when the client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from bitnet_tt.server.errors import ClientGoneError

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which every reader of server-sent events skips."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

DONE = b"data: [DONE]\n\n"
"""The end of a stream of OpenAI's."""


def event(data: object, name: str | None = None) -> bytes:
    """Return an event with JSON as its data."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {_encode(data)}\n\n".encode()


async def until_gone[T](request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work, or cancel it when the client of the request leaves.

    Raises:
        ClientGoneError: The client has left.
    """
    gone = asyncio.ensure_future(_gone(request.receive))
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({gone, task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        gone.cancel()
        if task.cancel():
            await asyncio.wait({task})


class EventStream(Response):
    """Sends events as they come.

    Args:
        events: The events as bytes. Closed at the end, also if the client leaves.
        close: Called at the end, also if no event was ever asked for.
        keep_alive_seconds: After this time without an event, a comment is sent.
        write_seconds: A client that does not read for this long loses its connection.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        close: Callable[[], None],
        *,
        keep_alive_seconds: float,
        write_seconds: float,
    ) -> None:
        self._events = events
        self._close = close
        self._keep_alive_seconds = keep_alive_seconds
        self._write_seconds = write_seconds
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events to the client. Events that are ready at the same time are sent together.

        Raises:
            ClientGoneError: The client has left, or does not read.
        """
        ready = bytearray()
        news = asyncio.Event()

        async def collect() -> None:
            async for data in self._events:
                ready.extend(data)
                news.set()

        tasks = collecting, gone = asyncio.ensure_future(collect()), asyncio.ensure_future(_gone(receive))
        for task in tasks:
            task.add_done_callback(lambda _: news.set())
        try:
            await self._send(send, _START)
            while not (collecting.done() and not ready):
                try:
                    async with asyncio.timeout(self._keep_alive_seconds):
                        await news.wait()
                except TimeoutError:
                    ready.extend(KEEP_ALIVE)
                if gone.done():
                    raise ClientGoneError
                news.clear()
                if ready:
                    data = bytes(ready)
                    ready.clear()
                    await self._send(send, _body(data))
            collecting.result()
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._events.aclose()

    async def _send(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await send(message)
        except (OSError, TimeoutError):
            raise ClientGoneError from None


_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ],
}


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _gone(receive: Receive) -> None:
    """Return when the client has left. The body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
