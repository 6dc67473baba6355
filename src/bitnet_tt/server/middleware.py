"""What happens around every request, as plain ASGI: log, keys, size of bodies, draining.

Starlette's BaseHTTPMiddleware is not used: behind it, a route does not learn that its client has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitnet_tt.server.auth import ApiKeys, given_key
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.errors import ApiError, ClientGoneError, error_response, internal
from bitnet_tt.server.request_log import RequestLog, RequestRecord
from bitnet_tt.server.settings import Limits

type CountAnswer = Callable[[str, int, float, bool], None]
"""Takes the path of a request's route, its status, its seconds, and whether it generates text."""

_OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""Paths that need no key, besides the chat page: they say nothing about the model or its users."""

_CLOSED_PREFIXES = ("/v1/", "/tokenize", "/detokenize", "/apply-template", "/props", "/metrics")
"""Paths that need a key, if the server has keys."""

_CLIENT_GONE = 499
"""The status in the log of a request whose client left. No client sees it."""


class RecordRequests:
    """The outermost part: makes the record of a request, answers bugs with 500, and writes the log."""

    def __init__(self, app: ASGIApp, log: RequestLog, count: CountAnswer) -> None:
        self._app = app
        self._log = log
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(scope["method"], scope["path"])
        scope.setdefault("state", {})["record"] = record

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                own = (
                    (b"date", formatdate(usegmt=True).encode()),
                    (b"x-request-id", record.id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                )
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except ClientGoneError:
            record.status = _CLIENT_GONE
        except asyncio.CancelledError:
            record.status = record.status or 503
            record.error = "the server ended before the answer"
            raise
        except Exception as error:
            self._log.bug(record, error)
            record.error = type(error).__name__
            if not record.status:
                await error_response(internal(), record.path)(scope, receive, send_and_note)
            else:
                record.status = 500
        finally:
            route = scope.get("route")
            endpoint = getattr(route, "path", "other")
            seconds = time.perf_counter() - record.started
            self._count(endpoint, record.status, seconds, record.prompt_tokens is not None)
            self._log.request(record)


class RequireKeys:
    """Lets requests in that need no key, or have one that the server knows."""

    def __init__(self, app: ASGIApp, keys: ApiKeys | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "http" and self._keys is not None and not self._is_open(scope["path"]):
            key = given_key(dict(scope["headers"]))
            name = None if key is None else self._keys.name_of(key)
            if name is None:
                what = "the API key is wrong" if key else "this server needs an API key"
                message = f"{what}; send the header `Authorization: Bearer KEY` or `x-api-key: KEY`"
                error = ApiError(401, message, kind="authentication_error", code="invalid_api_key")
                await error_response(error, scope["path"])(scope, receive, send)
                return
            scope["state"]["record"].key = name
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in _OPEN_PATHS or not path.startswith(_CLOSED_PREFIXES)


class RefuseWhileDraining:
    """Answers 503 to every request that would generate, once the server is to end."""

    def __init__(self, app: ASGIApp, context: ServerContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and self._context.draining:
            message = "the server is shutting down; send the request to another one"
            error = ApiError(503, message, kind="server_error", code="draining", retry_after=1)
            await error_response(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)


class CountActive:
    """Counts the requests that are being answered, so that the server can end after the last of them."""

    def __init__(self, app: ASGIApp, context: ServerContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        self._context.active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._context.active -= 1


class LimitBodies:
    """Refuses bodies that are too large or not UTF-8, and ends the wait for those that come too slowly."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and len(declared) < 20 and int(declared) > self._limits.body_bytes:
            await error_response(self._too_large(), scope["path"])(scope, receive, send)
            return
        try:
            body = await self._read(receive)
        except ApiError as error:
            await error_response(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    body += message.get("body", b"")
                    if len(body) > self._limits.body_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        body.decode()  # strictly: the JSON parser takes encoded halves of surrogate pairs for text
                        return bytes(body)
        except UnicodeDecodeError:
            raise ApiError(400, "the body is not UTF-8 text", code="invalid_json") from None
        except TimeoutError:
            raise ApiError(
                408, f"the body did not come within {self._limits.body_seconds:g} s", code="timeout"
            ) from None

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is larger than {self._limits.body_bytes} bytes", code="body_too_large")


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that gives a body that was read already, and then what the original one gives."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
