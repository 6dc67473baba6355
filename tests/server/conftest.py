"""Fixtures that serve the demo model on loopback, in a thread of this process."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from bitnet_tt import BitNetModel
from bitnet_tt.server.app import create_app
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.request_log import RequestLog
from bitnet_tt.server.settings import ServerSettings
from tests.cli.conftest import run  # noqa: F401 (a fixture)
from tests.engine.small_engine import wait_for

CLIENTS_MISSING = "the dependency group clients is not installed: make test installs it"


@dataclass
class RunningServer:
    """A server of a model of this process, and a client of it.

    `log` has the lines that it logged, as JSON. A request's line is written, and its time is counted in the metrics,
    after its answer was sent: `logged` waits for that.
    """

    url: str
    context: ServerContext
    model: BitNetModel
    log: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **options)

    def post(self, path: str, body: dict[str, Any], **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, json={"model": "demo"} | body, timeout=60, **options)

    def events(self, path: str, body: Any, **options: Any) -> list[str]:
        """Return the data of each event of a stream."""
        response = self.post(path, body, **options)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]

    def logged(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has this many lines, and return them."""
        wait_for(lambda: len(self.log) >= count)
        assert len(self.log) == count
        return self.log


type Serve = Callable[..., contextlib.AbstractContextManager[RunningServer]]


@contextlib.contextmanager
def serving(model: BitNetModel, settings: ServerSettings) -> Iterator[RunningServer]:
    lines: list[dict[str, Any]] = []
    log = RequestLog(with_text=settings.log_text, write=lambda line: lines.append(json.loads(line)))
    app = create_app(model, settings, log)
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield RunningServer(f"http://127.0.0.1:{port}", app.state.context, model, lines)
    finally:
        server.should_exit = True
        thread.join()
        app.state.context.service.cancel_all()


@pytest.fixture(scope="session")
def demo() -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained("demo") as model:
        yield model


@pytest.fixture
def serve(demo: BitNetModel) -> Serve:
    """Serve the demo model with the given settings, as a context manager."""
    return lambda **options: serving(demo, ServerSettings(**options))


@pytest.fixture(scope="session")
def server(demo: BitNetModel) -> Iterator[RunningServer]:
    """One server with default settings, for all tests that do not need their own."""
    with serving(demo, ServerSettings()) as running:
        yield running
