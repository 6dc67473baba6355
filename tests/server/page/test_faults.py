"""The page says what is wrong with the server, offers to try again, and keeps what arrived."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page, expect

from tests.server.page.actions import answers, ask, message_box, send, wait_until_done
from tests.server.page.conftest import OpenPage
from tests.server.page.fake_server import Answer, FakeServer, Gate


def test_server_that_needs_a_key(open_page: OpenPage, server: FakeServer):
    server.key = "secret"
    page = open_page()
    field = page.get_by_label("This server needs a key.")
    expect(field).to_be_focused()
    expect(page.get_by_text("did not accept this key")).to_have_count(0)
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_text("The server did not accept this key.")).to_be_visible()
    page.get_by_label("This server needs a key.").fill("secret")
    page.get_by_role("button", name="Use key").click()
    expect(field).to_have_count(0)
    ask(page, "Hi")
    expect(answers(page)).to_contain_text("ok")
    # The key stays in this tab, and only there.
    assert page.evaluate("Object.values(sessionStorage)") == ["secret"]
    assert "secret" not in page.evaluate("JSON.stringify(localStorage)")
    page.reload()
    ask(page, "Hi again")


def test_key_that_expires_during_a_chat(page: Page, server: FakeServer):
    ask(page, "Hi")
    server.key = "new"
    send(page, "More")
    expect(answers(page).last).to_contain_text("This server needs a key.")
    page.get_by_label("This server needs a key.").fill("new")
    page.keyboard.press("Enter")
    expect(page.locator("form.banner")).to_have_count(0)
    page.get_by_role("button", name="Try again").click()
    expect(answers(page).last).to_contain_text("ok")


def test_server_without_a_model(open_page: OpenPage, server: FakeServer):
    server.models = []
    page = open_page()
    expect(page.get_by_role("alert")).to_contain_text("The server has no model loaded.")
    message_box(page).fill("Hi")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    server.models = ["demo"]
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answers(page)).to_contain_text("ok")


def test_model_that_is_gone(page: Page, server: FakeServer):
    server.answers.append(Answer(status=404, message="no model demo; this server has: other"))
    send(page, "Hi")
    expect(answers(page)).to_contain_text("The server does not have this model.")
    expect(answers(page)).to_contain_text("this server has: other")
    # Chat templates want questions and answers in turn, so an unanswered question is joined with the next.
    ask(page, "Still there?")
    assert server.bodies[1]["messages"] == [{"role": "user", "content": "Hi\n\nStill there?"}]


def test_several_models(open_page: OpenPage, server: FakeServer):
    server.models = ["small", "large"]
    page = open_page()
    page.get_by_role("combobox", name="Model").select_option("large")
    ask(page, "Hi")
    assert server.bodies[0]["model"] == "large"


def test_busy_server(page: Page, server: FakeServer):
    server.answers.append(Answer(status=429, message="128 requests wait", headers={"Retry-After": "30"}))
    send(page, "Hi")
    expect(answers(page)).to_contain_text("The server is busy")
    expect(answers(page)).to_contain_text("It asks to wait")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_contain_text("ok")
    # The answer without text was replaced, not kept as a version.
    expect(answers(page)).not_to_contain_text("1/")


def test_other_errors_show_the_servers_words(page: Page, server: FakeServer):
    messages = {400: "the prompt has 5000 tokens, the context holds 4096", 500: "internal error"}
    for status, message in messages.items():
        server.answers.append(Answer(status=status, message=message))
        send(page, "Hi")
        expect(answers(page).last).to_contain_text(message)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ([], {"cut": True}),
        ([], {"finish": None}),
        ([{"error": {"message": "out of memory", "type": "server_error"}}], {}),
        ([b"data: {not json\n\n"], {}),
    ],
    ids=["connection breaks", "stream ends early", "error event", "event is not JSON"],
)
def test_answer_that_breaks_off_is_kept(page: Page, server: FakeServer, ending: list[Any], options: dict[str, Any]):
    # A browser drops what it has not given to the page when the connection breaks: so wait for the text.
    gate = Gate()
    server.answers.append(Answer(["Half of", " it", gate, *ending], **options))
    send(page, "Hi")
    expect(answers(page)).to_contain_text("Half of it")
    gate.open()
    expect(answers(page)).to_contain_text("The text so far is kept.")
    page.reload()
    expect(answers(page)).to_contain_text("Half of it")
    expect(answers(page)).to_contain_text("The text so far is kept.")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_contain_text("ok")
    expect(answers(page)).to_contain_text("2/2")


def test_odd_events_do_not_break_the_page(page: Page, server: FakeServer):
    odd = [{}, {"choices": None}, {"choices": []}, {"choices": [{}]}, {"choices": [{"delta": {"content": None}}]}]
    numbers = {"choices": [], "usage": {"prompt_tokens": "many", "completion_tokens": None}}
    server.props = {"context_length": "large"}
    server.answers.append(Answer([b"data: 5\n\n", b"data: null\n\n", *odd, "fine", numbers]))
    page.reload()
    ask(page, "Hi")
    expect(answers(page)).to_contain_text("fine")


def test_server_that_dies_and_comes_back(page: Page, server: FakeServer):
    gate = Gate()
    server.answers.append(Answer(["Half of it", gate]))
    send(page, "Hi")
    expect(answers(page)).to_contain_text("Half of it")
    server.stop()
    gate.open()
    expect(answers(page)).to_contain_text("The server stopped in the middle of this answer.")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    server.start()
    # The page notices by itself.
    expect(page.get_by_role("alert")).to_have_count(0)
    ask(page, "Are you back?")
    expect(answers(page).last).to_contain_text("ok")


def test_page_that_is_closed_during_an_answer_keeps_the_text(page: Page, server: FakeServer):
    gate = Gate()
    server.answers.append(Answer(["Half of it", gate]))
    send(page, "Hi")
    expect(answers(page)).to_contain_text("Half of it")
    page.reload()
    gate.open()
    expect(answers(page)).to_contain_text("Half of it")
    expect(answers(page)).to_contain_text("This answer is not complete")
    wait_until_done(page)
