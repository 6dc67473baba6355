"""`python -m tools.server_load` finds no broken promise of our server, and finds those of a bad one."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from tools.server_load import clients
from tools.server_load.clients import Clients
from tools.server_load.report import Report
from tools.server_load.requests import make_requests

command = importlib.import_module("tools.server_load.__main__")

Answer = Callable[[], tuple[int, str]]


@pytest.mark.slow
def test_our_server_keeps_its_promises() -> None:
    options = ["--minutes", "0.05", "--clients", "16", "--requests", "33", "--json"]
    result = CliRunner().invoke(command.app, options, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["broken"] == {}
    assert result.exit_code == 0
    assert report["compared"] > 0
    assert report["drain"]["complete"] == report["drain"]["accepted"]
    assert report["restart"]["seconds to the first answer"] > 0


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Serve an answer to every request, over HTTP."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                status, text = answer()
                self.send_response(status)
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def broken_promises(url: str) -> set[str]:
    report = Report({})
    requests = [request for request in make_requests(44, 1) if not request.stream][:3]
    under_test = Clients(url, requests, {}, report)

    async def ask() -> None:
        await under_test.learn()
        await under_test.learn()

    asyncio.run(ask())
    return set(report.broken)


def test_another_answer_to_the_same_request_is_found(serve) -> None:
    numbers = iter(range(1000))
    assert broken_promises(serve(lambda: (200, json.dumps({"text": next(numbers)})))) == {clients.EQUAL_ANSWERS}


def test_a_cut_answer_is_found(serve) -> None:
    assert broken_promises(serve(lambda: (200, '{"text": '))) == {clients.EVERY_ANSWER}


def test_a_server_error_is_found(serve) -> None:
    assert broken_promises(serve(lambda: (500, "{}"))) == {clients.NO_SERVER_ERROR}


def test_good_answers_are_good(serve) -> None:
    assert broken_promises(serve(lambda: (200, "{}"))) == set()


def test_a_report_names_the_broken_promise() -> None:
    report = Report({"minutes": 1})
    report.count("chat", 200)
    assert "All promises were kept" in report.as_text()
    for number in range(100):
        report.breaks("the sky is blue", f"case {number}")
    assert "BROKEN, 100 times: the sky is blue\n    case 0\n" in report.as_text()
    assert json.loads(report.as_json())["kept"] is False
