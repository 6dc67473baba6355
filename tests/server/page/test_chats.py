"""Chats stay in the browser. They can be found, renamed, deleted, exported and imported; settings go into requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page, expect

from tests.server.page.actions import answers, ask, chats, message_box, notice, paste, questions, send, wait_until_done
from tests.server.page.conftest import OpenPage
from tests.server.page.fake_server import Answer, FakeServer, Gate


def export(page: Page, button: str, folder: Path) -> dict[str, Any]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(folder / "chats.json")
    return json.loads((folder / "chats.json").read_text(encoding="utf-8"))


def test_chats_survive_a_reload(page: Page):
    ask(page, "First chat")
    page.get_by_role("button", name="New chat").click()
    ask(page, "Second chat")
    page.reload()
    expect(chats(page)).to_have_text(["Second chat", "First chat"])
    expect(questions(page)).to_contain_text("Second chat")
    page.get_by_role("button", name="First chat", exact=True).click()
    expect(questions(page)).to_contain_text("First chat")
    page.go_back()
    expect(questions(page)).to_contain_text("Second chat")


def test_tabs_see_each_others_chats(page: Page, server: FakeServer):
    gate = Gate()
    server.answers.append(Answer(["begin", gate, " end"]))
    other = page.context.new_page()
    other.goto(server.url)
    send(page, "Hello")
    expect(answers(page)).to_contain_text("begin")
    other.get_by_role("button", name="Hello", exact=True).click()
    expect(answers(other)).to_contain_text("another tab is still writing it")
    gate.open()
    expect(answers(other)).to_contain_text("begin end")
    expect(answers(other)).not_to_contain_text("another tab")


def test_search_rename_delete(page: Page, server: FakeServer):
    server.answers.extend([Answer(["about apples"]), Answer(["about pears"])])
    ask(page, "One")
    page.get_by_role("button", name="New chat").click()
    ask(page, "Two")
    search = page.get_by_role("searchbox", name="Search the chats")
    search.fill("APPLES")
    expect(chats(page)).to_have_text(["One"])
    search.fill("nothing like this")
    expect(page.get_by_text("No chat has this text.")).to_be_visible()
    search.fill("")
    page.get_by_role("button", name="One", exact=True).hover()
    page.get_by_role("button", name="Rename One").click()
    page.get_by_role("textbox", name="New title").fill("Fruit")
    page.keyboard.press("Enter")
    expect(chats(page)).to_have_text(["Two", "Fruit"])
    page.get_by_role("button", name="Two", exact=True).hover()
    page.get_by_role("button", name="Delete Two").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(chats(page)).to_have_text(["Fruit"])
    expect(questions(page)).to_have_count(0)
    page.reload()
    expect(chats(page)).to_have_text(["Fruit"])


def test_export_and_import_give_the_same_chats(open_page: OpenPage, server: FakeServer, tmp_path: Path):
    page = open_page(accept_downloads=True)
    server.answers.extend([Answer(["v1"], usage={"prompt_tokens": 5, "completion_tokens": 2}), Answer(["v2"])])
    paste(page, "long " * 1000)
    ask(page, "Question – ünï")
    page.get_by_role("button", name="Answer again").click()
    expect(answers(page)).to_contain_text("v2")
    wait_until_done(page)
    page.get_by_role("button", name="Previous version").click()
    page.get_by_role("button", name="New chat").click()
    ask(page, "Other")
    first = export(page, "Export all", tmp_path)
    assert sorted(each["title"] for each in first["conversations"]) == ["Other", "Question – ünï"]

    other = open_page(accept_downloads=True)
    other.get_by_label("Import file").set_input_files(tmp_path / "chats.json")
    expect(notice(other)).to_have_text("Imported 2 conversations.")
    other.get_by_role("button", name="Question – ünï", exact=True).click()
    expect(answers(other)).to_contain_text("v1")
    expect(answers(other)).to_contain_text("1/2")
    expect(other.get_by_role("button", name="pasted-1.txt")).to_be_visible()
    second = export(other, "Export all", tmp_path)
    assert _without_ids(first) == _without_ids(second)
    # A second import adds nothing.
    other.get_by_label("Import file").set_input_files(tmp_path / "chats.json")
    expect(notice(other)).to_contain_text("2 conversations were here already.")
    expect(chats(other)).to_have_count(2)


def test_one_chat_can_be_exported(open_page: OpenPage, tmp_path: Path):
    page = open_page(accept_downloads=True)
    ask(page, "One")
    page.get_by_role("button", name="New chat").click()
    ask(page, "Two")
    page.get_by_role("button", name="One", exact=True).hover()
    [only] = export(page, "Export One", tmp_path)["conversations"]
    assert [message["content"] for message in only["messages"]] == ["One", "ok"]


def _without_ids(exported: dict[str, Any]) -> Any:
    """Replace random ids by the position of the message."""
    result = []
    for chat in sorted(exported["conversations"], key=lambda each: each["title"]):
        messages = sorted(chat["messages"], key=lambda each: each["created"])
        names = {message["id"]: str(at) for at, message in enumerate(messages)} | {chat["id"]: "chat"}
        result.append(_renamed({**chat, "messages": messages}, names))
    return result


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


CHAT = {"id": "c", "title": "T", "created": 1, "updated": 1}
MESSAGE = {"id": "m", "parent": None, "role": "user", "content": "x", "created": 1}


def _file(*messages: dict[str, Any], **fields: Any) -> str:
    chat = {**CHAT, "messages": list(messages), **fields}
    return json.dumps({"format": "bitnet-tt conversations", "version": 1, "conversations": [chat]})


NOT_EXPORTS = [
    ("{", "not JSON"),
    ("[]", "not an export of this page"),
    ('{"format": "bitnet-tt conversations", "version": 9}', "version 9"),
    (_file(title=7), "title"),
    (_file({**MESSAGE, "role": "system"}), "role"),
    (_file({**MESSAGE, "content": ["x"]}), "content"),
    (_file({**MESSAGE, "files": [{"name": "a"}]}), "files"),
    (_file({**MESSAGE, "stats": {"speed": "fast"}}), "speed"),
    (_file({**MESSAGE, "error": {"kind": "busy", "message": {}}}), "message"),
    (_file({**MESSAGE, "parent": "unknown"}), "parent"),
    (_file({**MESSAGE, "parent": "m"}), "their own parents"),
    (_file(MESSAGE, MESSAGE), "the same"),
]


def test_files_that_are_not_exports_are_refused(page: Page, tmp_path: Path):
    for number, (text, reason) in enumerate(NOT_EXPORTS):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        page.get_by_label("Import file").set_input_files(file)
        expect(notice(page)).to_contain_text(f"{number}.json was not imported.")
        expect(notice(page)).to_contain_text(reason)
    expect(chats(page)).to_have_count(0)


def test_export_may_leave_out_what_has_a_default(page: Page, tmp_path: Path):
    answer = {"id": "n", "parent": "m", "role": "assistant", "content": "yes", "created": 2, "stats": {}}
    (tmp_path / "short.json").write_text(_file(MESSAGE, answer))
    page.get_by_label("Import file").set_input_files(tmp_path / "short.json")
    page.get_by_role("button", name="T", exact=True).click()
    expect(answers(page)).to_contain_text("yes")


def test_only_settings_that_are_set_are_sent(page: Page, server: FakeServer):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("  Be brief.  ")
    values = {"Temperature": "0.7", "Top-k": "40", "Seed": "123", "Max tokens": "64"}
    for label, value in values.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Top-p").fill("7")
    expect(page.get_by_text("At most 1.")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    page.reload()
    ask(page, "Hi")
    body = server.bodies[0]
    sent = {name: body[name] for name in body if name not in ("model", "stream", "stream_options", "messages")}
    assert sent == {"temperature": 0.7, "top_k": 40, "seed": 123, "max_tokens": 64}
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}

    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Top-k")).to_have_value("40")
    for label, value in {"Top-p": "0.9", "Min-p": "0.05", "Repetition penalty": "1.1"}.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Temperature").fill("")
    page.get_by_role("button", name="Done").click()
    ask(page, "Again")
    body = server.bodies[1]
    assert "temperature" not in body
    assert (body["top_p"], body["min_p"], body["repetition_penalty"]) == (0.9, 0.05, 1.1)

    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_label("Top-k")).to_have_value("")
    page.get_by_role("button", name="Done").click()
    ask(page, "Plain")
    assert set(server.bodies[2]) == {"model", "messages", "stream", "stream_options"}


def test_long_paste_becomes_a_file(page: Page, server: FakeServer):
    paste(page, "short")
    expect(page.get_by_role("list", name="Files")).to_have_count(0)
    text = "line of a log\n" * 300
    paste(page, text)
    paste(page, text)
    chips = page.get_by_role("list", name="Files")
    expect(chips).to_contain_text("pasted-1.txt")
    page.get_by_role("button", name="Remove pasted-2.txt").click()
    page.get_by_role("button", name="pasted-1.txt").first.click()
    expect(page.get_by_role("dialog", name="pasted-1.txt")).to_contain_text("line of a log")
    page.keyboard.press("Escape")
    ask(page, "What is wrong?")
    expect(questions(page)).to_contain_text("pasted-1.txt")
    [message] = server.bodies[0]["messages"]
    assert message["content"] == f"--- File: pasted-1.txt ---\n{text}\n--- End of pasted-1.txt ---\n\nWhat is wrong?"


def test_text_files_can_be_added_and_others_are_refused(page: Page, tmp_path: Path):
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00\xff")
    page.locator(".composer input[type=file]").set_input_files([tmp_path / "notes.md", tmp_path / "picture.png"])
    expect(page.get_by_role("list", name="Files")).to_contain_text("notes.md")
    expect(notice(page)).to_have_text("picture.png is not a text file.")
    expect(message_box(page)).to_have_value("")
