"""Run the server until a signal ends it, so that no request is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from bitnet_tt.server.context import ServerContext

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_SECONDS = 0.02
_CUT_SECONDS = 2
"""After the drain time, streams get this long to send their last event."""

_IDLE_SECONDS = 60
"""A connection without a request is closed after this time. Proxies keep theirs about as long."""


def run_server(app: FastAPI, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """Run `serve_app` in an event loop of its own."""
    return asyncio.run(serve_app(app, listener, on_ready))


async def serve_app(app: FastAPI, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve until a signal comes. SIGTERM and Ctrl-C let running requests finish; a second signal does not.

    Args:
        app: The application. The caller closes its model.
        listener: The socket of `listening_socket`.
        on_ready: Called once clients can connect.

    Returns:
        The exit code: 0 if every request was answered, 1 if the drain time was too short for some, and 128 plus the
        signal's number after a second signal.
    """
    context: ServerContext = app.state.context
    settings = context.settings
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,  # uvicorn's is renewed by a timer; `RecordRequests` sends one
        ws="none",
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_CUT_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    server = _Server(config, context, on_ready)
    try:
        await server.serve(sockets=[listener])
    finally:
        context.service.cancel_all()
    return server.exit_code


class _Server(uvicorn.Server):
    """uvicorn's server with our way to end."""

    def __init__(self, config: uvicorn.Config, context: ServerContext, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._context = context
        self._on_ready = on_ready
        self._draining: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self.exit_code = 0

    async def main_loop(self) -> None:
        """Sleep until the server is to end. uvicorn's own loop wakes ten times a second."""
        await self._ending.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the event loop. A signal that the caller of the program ignores stays ignored."""
        loop = asyncio.get_running_loop()
        handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in handled:
            loop.add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _end(self, number: int) -> None:
        if self._draining is None:
            self._context.draining = True
            self._draining = asyncio.ensure_future(self._drain())
            return
        self.exit_code = 128 + number
        self._context.service.cancel_all()
        self.force_exit = True
        self._ending.set()

    async def _drain(self) -> None:
        """Wait for the requests that are being answered, then let the server end. New ones get 503 meanwhile."""
        deadline = time.monotonic() + self._context.settings.drain_timeout
        while self._context.active and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        if self._context.active:
            self.exit_code = self.exit_code or 1
            self._context.service.cancel_all()
            deadline = time.monotonic() + _CUT_SECONDS
            while self._context.active and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_SECONDS)
        self._ending.set()
