"""An answer streams into the page, can be stopped, repeated, and asked again in other words. No version is lost."""

from __future__ import annotations

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page, expect

from tests.server.page.actions import answers, ask, message_box, questions, send, wait_until_done
from tests.server.page.fake_server import Answer, FakeServer, Gate

USAGE = {"prompt_tokens": 1000, "completion_tokens": 24, "prompt_tokens_details": {"cached_tokens": 12}}


def test_answer_streams_with_speed_and_context(page: Page, server: FakeServer):
    first, second = Gate(), Gate()
    server.answers.append(Answer(["One", " two", first, " three", second, " four"], usage=USAGE))
    send(page, "Count")
    expect(answers(page)).to_contain_text("One two")
    expect(answers(page)).not_to_contain_text("three")
    page.wait_for_timeout(100)  # The page measures no speed over less than 50 ms.
    first.open()
    expect(answers(page)).to_contain_text("One two three")
    expect(answers(page)).to_contain_text("tokens/s")
    expect(page.locator(".context")).to_contain_text("≈")
    second.open()
    wait_until_done(page)
    expect(answers(page)).to_contain_text("24 tokens")
    expect(page.locator(".context")).to_contain_text("1,024 of 4,096 tokens")
    assert page.locator("meter").evaluate("meter => [meter.value, meter.max]") == [1024, 4096]
    [body] = server.bodies
    assert body == {
        "model": "demo",
        "messages": [{"role": "user", "content": "Count"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_next_message_sends_the_conversation(page: Page, server: FakeServer):
    server.answers.extend([Answer(["Hello"]), Answer(["Bye"])])
    ask(page, "Hi")
    ask(page, "Leave")
    assert [message["content"] for message in server.bodies[1]["messages"]] == ["Hi", "Hello", "Leave"]


def test_stop_keeps_the_text_and_ends_the_request(page: Page, server: FakeServer):
    # The server notices only when it writes, so it goes on writing.
    server.answers.append(Answer(["Some text", *[" more"] * 20, gate := Gate(), *[" late" * 10_000] * 200]))
    send(page, "Write")
    expect(answers(page)).to_contain_text("more")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page)).to_contain_text("You stopped this answer.")
    gate.open()
    assert server.client_left.wait(5)
    page.reload()
    expect(answers(page)).to_contain_text("Some text")
    expect(answers(page)).not_to_contain_text("late")


def test_regenerate_keeps_every_version(page: Page, server: FakeServer):
    server.answers.extend([Answer(["first"]), Answer(["second"]), Answer(["third"])])
    ask(page, "Say")
    for text in ("second", "third"):
        page.get_by_role("button", name="Answer again").click()
        expect(answers(page)).to_contain_text(text)
        wait_until_done(page)
    assert all(body["messages"] == server.bodies[0]["messages"] for body in server.bodies)
    expect(answers(page)).to_contain_text("3/3")
    page.get_by_role("button", name="Previous version").click()
    page.get_by_role("button", name="Previous version").click()
    expect(answers(page)).to_contain_text("first")
    expect(answers(page)).to_contain_text("1/3")
    page.reload()
    expect(answers(page)).to_contain_text("first")


def test_edit_makes_a_branch_with_its_own_continuation(page: Page, server: FakeServer):
    server.answers.extend([Answer(["A1"]), Answer(["A2"]), Answer(["B1"])])
    ask(page, "old question")
    ask(page, "continued")
    questions(page).first.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("textbox", name="Edit your message")).to_have_value("old question")
    page.get_by_role("textbox", name="Edit your message").fill("new question")
    page.get_by_role("textbox", name="Edit your message").press("Enter")
    expect(answers(page)).to_have_count(1)
    expect(answers(page)).to_contain_text("B1")
    wait_until_done(page)
    assert [message["content"] for message in server.bodies[2]["messages"]] == ["new question"]
    expect(questions(page)).to_contain_text("2/2")
    # Back to the first branch: all that came after it is there again.
    page.get_by_role("button", name="Previous version").click()
    expect(questions(page)).to_have_count(2)
    expect(answers(page).last).to_contain_text("A2")


def test_edit_can_be_cancelled(page: Page, server: FakeServer):
    ask(page, "question")
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("textbox", name="Edit your message")).to_have_value("question")
    page.get_by_role("textbox", name="Edit your message").fill("other")
    page.keyboard.press("Escape")
    expect(questions(page)).to_contain_text("question")
    expect(message_box(page)).to_be_focused()
    assert len(server.bodies) == 1


def test_answer_goes_on_while_another_chat_is_open(page: Page, server: FakeServer):
    gate = Gate()
    server.answers.append(Answer(["begin", gate, " end"]))
    send(page, "Long")
    expect(answers(page)).to_contain_text("begin")
    page.get_by_role("button", name="New chat").click()
    expect(answers(page)).to_have_count(0)
    gate.open()
    page.get_by_role("button", name="Long", exact=True).click()
    expect(answers(page)).to_contain_text("begin end")


def test_limit_of_tokens_and_reasoning_are_shown(page: Page, server: FakeServer):
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Let me think"}, "finish_reason": None}]}
    server.answers.append(Answer([thought, "Cut he"], finish="length"))
    ask(page, "Go")
    expect(answers(page)).to_contain_text("The answer reached the limit of tokens.")
    page.get_by_text("Thinking").click()
    expect(page.get_by_text("Let me think")).to_be_visible()
