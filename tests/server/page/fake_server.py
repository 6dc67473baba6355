"""A server that plays scripted answers to the chat page: pieces of text, errors, and cuts."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bitnet_tt

PAGE = Path(bitnet_tt.__file__).parent / "server/page"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

WAIT_SECONDS = 30.0


class Gate:
    """A place in an answer where the server waits until the test opens it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        self._event.wait(WAIT_SECONDS)


@dataclass
class Answer:
    """One scripted answer to POST /v1/chat/completions.

    Attributes:
        pieces: Texts, each sent as one event; a Gate waits; a dict is sent as an event as it is; bytes are sent raw.
        finish: The finish reason of the last event. None ends the stream without one.
        usage: The token counts of the last event.
        status: With a status other than 200, the answer is an error with `message`.
        headers: More headers of an error.
        cut: Break the connection after the pieces.
    """

    pieces: list[str | Gate | dict[str, Any] | bytes] = field(default_factory=list)
    finish: str | None = "stop"
    usage: dict[str, Any] | None = None
    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


class FakeServer:
    """The server. `answers` is the script, `bodies` are the requests that came."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.bodies: list[dict[str, Any]] = []
        self.models = ["demo"]
        self.props: dict[str, Any] = {"model": "demo", "context_length": 4096}
        self.key: str | None = None
        self.client_left = threading.Event()
        self.port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        server = self

        class Handler(_Handler):
            fake = server

        self._http = _QuietServer(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and drop every connection."""
        if self._http is not None:
            self._http.shutdown()
            self._http.drop_connections()
            self._http.server_close()
            self._http = None


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in list(self._connections):
            _break(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: browsers drop connections all the time."""


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # The browser has closed it already.
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/health":
            self._json(200, {"status": "ok"})
        elif path in ("/v1/models", "/props"):
            if self._has_key():
                models = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.fake.models]}
                self._json(200, models if path == "/v1/models" else self.fake.props)
        else:
            self._file("index.html" if path == "/" else path[1:])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._has_key():
            return
        self.fake.bodies.append(body)
        answer = self.fake.answers.popleft() if self.fake.answers else Answer(["ok"])
        if answer.status != 200:
            self._error(answer.status, answer.message, answer.headers)
        else:
            self._stream(answer)

    def _has_key(self) -> bool:
        if self.fake.key is None or self.headers["Authorization"] == f"Bearer {self.fake.key}":
            return True
        self._error(401, "the key is missing or wrong", {})
        return False

    def _file(self, name: str) -> None:
        path = PAGE / name
        if not path.is_file():
            self._error(404, f"no file {name}", {})
            return
        self._send(200, path.read_bytes(), {"Content-Type": mimetypes.guess_type(name)[0] or "text/plain"})

    def _json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _error(self, status: int, message: str, headers: dict[str, str]) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "param": None, "code": None}}, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._chunk(b": a comment keeps the stream open\n\n")
            for piece in answer.pieces:
                if isinstance(piece, Gate):
                    piece.wait()
                elif isinstance(piece, bytes):
                    self._chunk(piece)
                else:
                    self._event(piece if isinstance(piece, dict) else _delta({"content": piece}))
            if answer.cut:
                _break(self.connection)
                return
            if answer.finish:
                self._event(_delta({}, answer.finish))
            if answer.usage:
                self._event({"choices": [], "usage": answer.usage})
            self._chunk(b"data: [DONE]\n\n" if answer.finish else b"")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.fake.client_left.set()
            self.close_connection = True

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _chunk(self, content: bytes) -> None:
        if content:
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.wfile.flush()


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
