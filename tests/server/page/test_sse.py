"""The page's parser of server-sent events gives the same events wherever the network cuts the bytes."""

from __future__ import annotations

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page

STREAM = (
    ': comment\n\ndata: {"a": "ü€😀"}\n\n'
    "event: x\r\ndata: one\r\ndata:two\r\n\r\n"
    "id: 7\n\ndata\n\ndata:  z\r\rdata: [DONE]\n\n"
)
EVENTS = ['{"a": "ü€😀"}', "one\ntwo", "", " z", "[DONE]"]

PARSE = """async ([stream, sizes]) => {
    const { EventParser } = await import("./api/sse.js");
    const bytes = new TextEncoder().encode(stream);
    return sizes.map((size) => {
        const parser = new EventParser();
        const events = [];
        for (let at = 0; at < bytes.length; at += size) events.push(...parser.push(bytes.slice(at, at + size)));
        return events;
    });
}"""


def test_events_do_not_depend_on_cuts(page: Page):
    sizes = [*range(1, 40), 10_000]
    for size, events in zip(sizes, page.evaluate(PARSE, [STREAM, sizes]), strict=True):
        assert events == EVENTS, f"pieces of {size} bytes"
