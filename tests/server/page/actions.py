"""What the tests do with the page, in the words of a user."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def message_box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def send(page: Page, text: str) -> None:
    message_box(page).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Model")


def questions(page: Page) -> Locator:
    return page.get_by_role("article", name="You")


def wait_until_done(page: Page) -> None:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)


def ask(page: Page, text: str) -> None:
    """Send a message and wait for the end of its answer."""
    count = answers(page).count()
    send(page, text)
    expect(answers(page)).to_have_count(count + 1)
    wait_until_done(page)


def chats(page: Page) -> Locator:
    return page.locator(".chat-title")


def paste(page: Page, text: str) -> None:
    """Paste into the message box."""
    message_box(page).evaluate(
        """(box, text) => {
            const data = new DataTransfer();
            data.setData("text/plain", text);
            box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        text,
    )


def notice(page: Page) -> Locator:
    return page.locator(".banner.notice p")
