"""`bitnet-tt chat --url` talks to a server: what it sends, what it shows, and errors in one line."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest


def chunk(text: str | None = None, reason: str | None = None, **more: Any) -> str:
    """Return an event of a stream."""
    delta = {} if text is None else {"content": text}
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}) + "\n\n"


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
WHOLE = [chunk(""), ": keep alive\n\n", chunk("Pa"), chunk("ris é"), chunk(None, "stop"), USAGE, "data: [DONE]\n\n"]


class Server(BaseHTTPRequestHandler):
    """Plays one answer and remembers the requests."""

    answer: ClassVar[list[str]] = []
    status: ClassVar[int] = 200
    requests: ClassVar[list[tuple[str, str | None, Any]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: str) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers["Authorization"], None))
        self.reply('{"data": [{"id": "tiny"}, {"id": "other"}]}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, self.headers["Authorization"], body))
        self.reply("".join(self.answer))


@pytest.fixture
def url() -> Iterator[str]:
    Server.answer, Server.status = WHOLE, 200
    Server.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_conversation(run, url: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    lines = f"Capital?\nAgain?\n/stats\n/save {tmp_path}/chat"
    result = run("chat", "--url", url, "--api-key-file", str(key), "--system", "Be brief.", "-n", "7", stdin=lines)
    assert (result.exit_code, result.stdout) == (0, "Paris é\nParis é\n")
    assert "2 tokens" in result.stderr
    assert [path for path, _, _ in Server.requests] == ["/v1/models", "/v1/chat/completions", "/v1/chat/completions"]
    assert {key for _, key, _ in Server.requests} == {"Bearer secret"}
    body = Server.requests[-1][2]
    assert body.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital?"},
        {"role": "assistant", "content": "Paris é"},
        {"role": "user", "content": "Again?"},
    ]
    assert body == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 1.0,
    }
    assert len(json.loads((tmp_path / "chat").read_text())) == 5


def test_the_model_and_the_sampling_are_sent(run, url: str) -> None:
    options = ["--seed", "3", "-t", "0.5", "--top-k", "4", "--stop", "x", "--repetition-penalty", "1.1"]
    run("chat", "--url", f"{url}/v1/", "-m", "other", *options, stdin="Hi")
    (path, _, body) = Server.requests[0]
    assert (path, body["model"]) == ("/v1/chat/completions", "other")
    assert {name: body[name] for name in ("seed", "temperature", "top_k", "stop", "repetition_penalty")} == {
        "seed": 3,
        "temperature": 0.5,
        "top_k": 4,
        "stop": ["x"],
        "repetition_penalty": 1.1,
    }


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (401, ['{"error": {"message": "the key is wrong"}}'], "answers 401: the key is wrong"),
        (404, ['{"detail": "no such model"}'], "answers 404: no such model"),
        (500, ["<html>"], "answers 500: Internal Server Error"),
        (200, [chunk("Pa"), 'data: {"error": {"message": "out of memory"}}\n\n'], "out of memory"),
        (200, [chunk("Pa")], "ended the answer without a reason"),
    ],
)
def test_errors_are_one_line(run, url: str, status: int, answer: list[str], message: str) -> None:
    Server.status, Server.answer = status, answer
    result = run("chat", "--url", url, "-m", "tiny", stdin="Hi")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_addresses_without_a_server(run, tmp_path: Path) -> None:
    for address, message in (("http://127.0.0.1:9", "cannot reach"), ("localhost:8080", "begins with http://")):
        result = run("chat", "--url", address, stdin="Hi")
        assert result.exit_code == 1
        assert message in result.stderr
    (tmp_path / "key").write_text("k")
    assert run("chat", "--api-key-file", str(tmp_path / "key"), stdin="").exit_code == 2
