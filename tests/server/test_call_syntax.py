"""The syntax of calls is recognised by the text of a chat template; one that we do not know is never guessed."""

from pathlib import Path

import pytest

from bitnet_tt.server.call_syntax import FALCON, HERMES, LLAMA, shows_tools, syntax_of

TEMPLATES = Path(__file__).parents[1] / "tokenizer/chat_templates"
FALCON_TEXT = (
    r"""{% if tools %}{{ 'Answer:\n<tool_call>\n[\n  {\"name\": \"function\", \"arguments\": {}}\n]' }}{% endif %}"""
)
XML_TEXT = r"""{% if tools %}{{ '<tool_call>\n<function=name>\n<parameter=a>' }}{% endif %}"""


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("qwen25", HERMES),
        ("qwen3", HERMES),
        ("llama31", LLAMA),
        ("mistral", None),
        ("gpt_oss", None),
        ("command_r_tool_use", None),
    ],
)
def test_templates_with_tools(name: str, syntax: object) -> None:
    template = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    assert shows_tools(template)
    assert syntax_of(template) == syntax


def test_lists_of_calls_and_calls_in_xml() -> None:
    assert syntax_of(FALCON_TEXT) == FALCON
    assert shows_tools(XML_TEXT)
    assert syntax_of(XML_TEXT) is None


@pytest.mark.parametrize("name", ["bitnet_2b4t", "olmo", "gemma"])
def test_templates_without_tools(name: str) -> None:
    assert not shows_tools((TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))


def test_the_word_tools_in_a_text_is_no_variable() -> None:
    assert not shows_tools("You have no tools. {{ 'tools' }} {# tools #}")
    assert not shows_tools("{{ tools")
