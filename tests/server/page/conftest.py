"""A headless Chromium and a scripted server for the tests of the chat page.

The tests drive the Chromium of the machine. Without one, or without playwright, they are
skipped.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.conftest import CLIENTS_MISSING
from tests.server.page.fake_server import FakeServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT_MS = 15_000

OpenPage = Callable[..., "Page"]

# The browser reports every failed request by itself, also those that the page handles.
_REPORTED_BY_BROWSER = re.compile(r"^Failed to load resource: ")


@pytest.fixture(scope="module")  # while playwright runs, its thread cannot run another event loop
def browser() -> Iterator[Browser]:
    playwright_api = pytest.importorskip("playwright.sync_api", reason=CLIENTS_MISSING)
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (on Debian: apt install chromium)")
    playwright_api.expect.set_options(timeout=TIMEOUT_MS)
    with playwright_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root in a container, where CI runs.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def open_page(browser: Browser, server: FakeServer) -> Iterator[OpenPage]:
    """Open the page in a browser with empty storage. The page may not report any error or violated policy."""
    complaints: list[str] = []
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda message: note(message.type, message.text))
        page.on("request", lambda request: note_address(request.url))
        page.goto(server.url)
        page.get_by_role("textbox", name="Message").wait_for()
        return page

    def note(kind: str, text: str) -> None:
        if kind in ("error", "warning") and not _REPORTED_BY_BROWSER.match(text):
            complaints.append(f"{kind}: {text}")

    def note_address(url: str) -> None:
        if not url.startswith((server.url, "blob:", "data:")):
            complaints.append(f"request to {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()
