"""The page works by keyboard, on a phone, in light and dark, and for screen readers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page, expect

from tests.server.page.actions import answers, ask, message_box, questions, send, wait_until_done
from tests.server.page.conftest import OpenPage
from tests.server.page.fake_server import PAGE, Answer, FakeServer, Gate


def test_keyboard_alone(page: Page, server: FakeServer):
    keyboard = page.keyboard
    gate = Gate()
    server.answers.extend([Answer(["one"]), Answer(["two"]), Answer(["three", gate])])
    expect(message_box(page)).to_be_focused()
    keyboard.type("first line")
    keyboard.press("Shift+Enter")
    keyboard.type("second line")
    keyboard.press("Enter")
    expect(answers(page)).to_contain_text("one")
    wait_until_done(page)
    assert server.bodies[0]["messages"][0]["content"] == "first line\nsecond line"
    expect(message_box(page)).to_be_focused()

    keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit your message")).to_be_focused()
    keyboard.press("Escape")
    expect(message_box(page)).to_be_focused()

    keyboard.press("Alt+r")
    expect(answers(page)).to_contain_text("two")
    wait_until_done(page)
    keyboard.press("Alt+r")
    expect(answers(page)).to_contain_text("three")
    keyboard.press("Escape")
    expect(answers(page)).to_contain_text("You stopped this answer.")
    gate.open()

    keyboard.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    keyboard.press("Shift+Escape")
    expect(message_box(page)).to_be_focused()
    keyboard.press("Control+Shift+S")
    expect(page.get_by_role("navigation", name="Chats")).to_have_count(0)
    keyboard.press("Control+Shift+S")
    expect(page.get_by_role("navigation", name="Chats")).to_be_visible()
    keyboard.press("Control+Shift+O")
    expect(answers(page)).to_have_count(0)
    for keys, title in (("Control+/", "Keyboard shortcuts"), ("Control+,", "Settings")):
        keyboard.press(keys)
        expect(page.get_by_role("dialog", name=title)).to_be_visible()
        keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(message_box(page)).to_be_focused()


WIDE = (
    "```cpp\nint x = function_with_a_long_name(first_argument_of_it, second_argument_of_it, third);\n```\n\n"
    "| a | b | c | d | e |\n|-|-|-|-|-|\n| aaaaaaaaaaaaa | bbbbbbbbbbbbb | ccccccccccccccc | dddddddddddd | eeee |\n\n"
    f"$${'+'.join('abcdefghijklmnopqrstuvwxyz')}$$\n\n" + "x" * 200
)


def test_narrow_phone(open_page: OpenPage, server: FakeServer):
    width = 320
    page = open_page(viewport={"width": width, "height": 640}, has_touch=True, is_mobile=True)
    server.answers.append(Answer([WIDE], usage={"prompt_tokens": 1000, "completion_tokens": 900}))
    ask(page, "y" * 200)

    def check_width(state: str) -> None:
        widths = page.evaluate(
            "[document.documentElement, ...document.querySelectorAll('.scroller, dialog, .sidebar')]"
            ".map((each) => each.scrollWidth - each.clientWidth)"
        )
        assert set(widths) == {0}, state
        assert page.evaluate("innerWidth") == width, state

    check_width("chat")
    message_box(page).fill("one")
    message_box(page).press("Enter")
    expect(message_box(page)).to_have_value("one\n")  # Enter does not send: phones have no Shift+Enter.
    server.answers.append(Answer(status=429, message="z" * 200, headers={"Retry-After": "9"}))
    send(page, "again")
    expect(answers(page).last).to_contain_text("busy")
    check_width("error")
    page.get_by_role("button", name="Show the list of chats").tap()
    check_width("sidebar")
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Show the list of chats")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("Rename"))).to_be_visible()
    page.get_by_role("button", name="Settings").tap()
    check_width("settings")
    page.get_by_role("button", name="Close").tap()
    page.get_by_role("button", name="New chat").tap()
    expect(page.get_by_role("navigation", name="Chats")).to_have_count(0)
    expect(questions(page)).to_have_count(0)
    server.key = "k"
    page.reload()
    expect(page.get_by_text("This server needs a key.")).to_be_visible()
    check_width("key")


def test_colours_follow_the_system_or_the_choice(open_page: OpenPage):
    page = open_page(color_scheme="light")

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    page.emulate_media(color_scheme="dark")
    dark = background()
    assert light == "rgb(255, 255, 255)" != dark
    colours = page.get_by_role("combobox", name="Colours")
    colours.select_option("light")
    assert background() == light
    page.reload()
    expect(page.get_by_role("combobox", name="Colours")).to_have_value("light")
    assert background() == light
    colours.select_option("system")
    assert background() == dark


def test_screen_readers_hear_the_answer_once(page: Page, server: FakeServer):
    gate = Gate()
    server.answers.append(Answer(["Hello", gate, " there"]))
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite"
    send(page, "Hi")
    expect(status).to_have_text("The model is answering.")
    expect(answers(page)).to_contain_text("Hello")
    expect(status).to_have_text("The model is answering.")
    gate.open()
    expect(status).to_have_text("Answer: Hello there")


def test_every_control_has_a_name(page: Page):
    ask(page, "Hi")
    page.get_by_role("button", name="Settings").click()
    nameless = page.evaluate("""() =>
        [...document.querySelectorAll("button, input:not([hidden]), select, textarea, a, meter, dialog")]
            .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length))
            .map((each) => each.outerHTML)""")
    assert nameless == []


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


SURFACES = ["page", "side", "raised", "tint", "hover", "code", "warn-tint", "bad-tint"]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_aa(scheme: int):
    css = (Path(PAGE) / "style/base.css").read_text(encoding="utf-8")
    colours = {
        name: values[scheme] for name, *values in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    }
    pairs = [(text, surface) for text in ("text", "muted") for surface in SURFACES]
    pairs += [(text, "code") for text in colours if text.startswith("code-")]
    pairs += [("accent", "page"), ("accent", "tint"), ("on-accent", "accent")]
    pairs += [("bad", surface) for surface in ("page", "raised", "warn-tint", "bad-tint")]
    low = {pair: _contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    # Borders of controls and the mark of the focus: 3 : 1.
    for name in ("control-line", "accent"):
        assert min(_contrast(colours[name], colours[surface]) for surface in ("page", "side", "raised")) >= 3, name
