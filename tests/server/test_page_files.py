"""The files of the chat page come under a strict policy; everything else is not found."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.exceptions import HTTPException

from bitnet_tt.server.page_files import PageFiles


def ask(folder: Path, path: str, method: str = "GET") -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(PageFiles(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path)

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page/text").mkdir(parents=True)
    (tmp_path / "page/index.html").write_text("<!doctype html>")
    (tmp_path / "page/text/main.js").write_text("export {}")
    (tmp_path / "secret").write_text("no page")
    return tmp_path / "page"


def test_the_page_runs_only_its_own_scripts(folder: Path) -> None:
    page = ask(folder, "/")
    assert page.text == "<!doctype html>"
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert ask(folder, "/text/main.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/nothing", "/text/", "/../secret", "/%2e%2e/secret", "/text/..%2f..%2fsecret"])
def test_other_files_are_not_found(folder: Path, path: str) -> None:
    with pytest.raises(HTTPException, match="404"):
        ask(folder, path)


def test_without_files_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(HTTPException, match="404"):
        ask(tmp_path / "missing", "/")
