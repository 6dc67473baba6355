"""Run the server until a signal ends it: sockets, TLS, and an end that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from bitnet_tt.errors import ConfigError
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.settings import ServerSettings

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_SECONDS = 0.02
_CUT_SECONDS = 2
"""After the drain time, streams get this long to send their last event."""

_IDLE_SECONDS = 60
"""A connection without a request is closed after this time. Proxies keep theirs about as long."""


@contextlib.contextmanager
def listening_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """Take the address of a server, before its model is loaded. Requests are answered once the server runs.

    Until then, clients cannot connect to a port. They can connect to a Unix socket, and wait.

    Raises:
        ConfigError: The address cannot be taken; the message says why.
    """
    listener = _bind_path(settings) if settings.uds is not None else _bind_port(settings)
    try:
        yield listener
    finally:
        listener.close()
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)


def check_tls(settings: ServerSettings) -> None:
    """Check the files for TLS, before the model is loaded.

    Raises:
        ConfigError: They cannot be used.
    """
    if settings.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {reason}") from error


def url_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Return the address of a server, for people."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


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


def _bind_port(settings: ServerSettings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: {getattr(error, 'strerror', None) or 'this is no host name'}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not_bound(error, host, port)) from error
    return listener


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; end it, or choose another port by --port"
    if error.errno == errno.EACCES:
        return f"port {port} is only for the superuser; choose one from 1024 to 65535 by --port"
    return f"--host {host}, --port {port}: {error.strerror}"


def _bind_path(settings: ServerSettings) -> socket.socket:
    path = settings.uds
    assert path is not None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _remove_if_abandoned(path)
        listener.bind(os.fspath(path))
        listener.listen()  # so that a server that starts meanwhile does not take the socket for an abandoned one
    except OSError as error:
        listener.close()
        raise ConfigError(f"--uds {path}: {_why_no_socket(error, path)}") from error
    return listener


def _remove_if_abandoned(path: Path) -> None:
    """Remove the socket of a server that was killed; nobody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()


def _why_no_socket(error: OSError, path: Path) -> str:
    if error.errno != errno.EADDRINUSE:
        return error.strerror or str(error)
    if path.is_socket():
        return "another program listens there; end it, or choose another path"
    return "the path exists and is no socket; choose another one"
