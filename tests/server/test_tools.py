"""The grammar of calls allows only text and valid calls, in every syntax, and tools that are not valid are refused."""

import contextlib
import json
from typing import Any

import pytest

from bitnet_tt.errors import RequestError
from bitnet_tt.server.answer_parts import AnswerParts, Part
from bitnet_tt.server.call_syntax import FALCON, HERMES, LLAMA, CallSyntax
from bitnet_tt.server.tools import Tool, ToolUse, call_grammar, instructions

pytest.importorskip("llguidance", reason="llguidance is not installed; it is part of the extra [server]")
from tests.server.test_structured_output import COMPILER, TOKENIZER, random_text

SYNTAXES = [HERMES, FALCON, LLAMA]
WEATHER = Tool(
    "weather",
    "The weather of a city.",
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "東京"]}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)
REFERRING = Tool(
    "add-2",
    "",
    {
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 3}},
    },
)
NOTHING = Tool("nothing", "Takes no arguments.", {"type": "object", "properties": {}, "additionalProperties": False})


def use(tools: list[Tool], **options: bool) -> ToolUse:
    return ToolUse(tools, tools, required=options.get("required", False), parallel=options.get("parallel", True))


def parse(text: str, syntax: CallSyntax) -> tuple[str, list[Part]]:
    """Return the text and the calls of an answer."""
    parts = AnswerParts(syntax).push_all(text)
    return "".join(part.text for part in parts if part.tool is None), [part for part in parts if part.tool is not None]


def check(call: Part, tools: list[Tool]) -> None:
    """Check that a call fits its tool."""
    assert call.tool in [tool.name for tool in tools]
    given: dict[str, Any] = json.loads(call.text)
    if call.tool == "weather":
        assert given["city"] in ("Paris", "東京")
        assert 0 <= given["days"] <= 9
    elif call.tool == "add-2":
        assert 0 <= given["a"] <= 3
    else:
        assert given == {}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("tools", [[WEATHER], [WEATHER, REFERRING, NOTHING]])
def test_required_answers_hold_only_valid_calls(
    tools: list[Tool], syntax: CallSyntax, parallel: bool, seed: int
) -> None:
    grammar = COMPILER.from_lark(call_grammar(use(tools, required=True, parallel=parallel), syntax))
    content, calls = parse(random_text(grammar, seed), syntax)
    assert content == ""
    assert len(calls) >= 1 if parallel else len(calls) == 1
    for call in calls:
        check(call, tools)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_other_answers_are_text_or_valid_calls(syntax: CallSyntax, seed: int) -> None:
    grammar = COMPILER.from_lark(call_grammar(use([WEATHER]), syntax))
    content, calls = parse(random_text(grammar, seed), syntax)
    assert content or calls
    for call in calls:
        check(call, [WEATHER])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_text_never_begins_a_call_that_is_not_valid(syntax: CallSyntax) -> None:
    grammar = COMPILER.from_lark(call_grammar(use([WEATHER]), syntax))

    def accept(text: str) -> None:
        constraint = grammar.constraint()
        for token_id in TOKENIZER.encode(text, add_bos=False, parse_special=False):
            constraint.accept(token_id)

    for text in ("Hello <b>!", '{"na', syntax.write([("weather", '{"city": "Paris", "days": 1}')])):
        accept(text)
    with pytest.raises(RequestError, match="any further"):
        accept(syntax.mark + "x")


@pytest.mark.parametrize("seed", range(6))
def test_a_text_beside_calls_can_have_a_schema(seed: int) -> None:
    grammar = COMPILER.from_lark(call_grammar(use([WEATHER]), HERMES, {"enum": ["<tool_call>", 5]}))
    content, calls = parse(random_text(grammar, seed), HERMES)
    if calls:
        check(calls[0], [WEATHER])
        assert content == ""
    else:
        assert json.loads(content) in ("<tool_call>", 5)


def test_only_allowed_tools_can_be_called() -> None:
    grammar = COMPILER.from_lark(call_grammar(ToolUse([WEATHER, NOTHING], [NOTHING], True, False), HERMES))
    assert [part.tool for part in AnswerParts(HERMES).push_all(random_text(grammar, 0))] == ["nothing"]


def test_instructions_describe_each_tool() -> None:
    text = instructions([WEATHER, NOTHING], HERMES)
    assert "The weather of a city." in text
    assert '"city"' in text
    assert HERMES.write([("function name", "{}")]) in text


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "é", 'a"b'])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="tool name"):
        Tool(name, "", {})


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(RequestError, match="must be 'object'"):
        Tool("name", "", {"type": "string"})


@pytest.mark.parametrize(
    ("parameters", "accepted"),
    [
        ({}, True),
        ({"properties": {"a": {"type": "integer"}}, "required": ["a"], "title": "Sum"}, False),
        ({"properties": {"a": {"type": "integer"}}, "required": ["b"]}, True),
        ({"properties": {"a": {"type": "integer"}}, "additionalProperties": True}, True),
        ({"properties": {"a": {"type": "integer"}}, "allOf": [{"properties": {"b": {"type": "integer"}}}]}, True),
    ],
)
def test_calls_have_only_arguments_that_the_tool_names_or_allows(parameters: dict[str, Any], accepted: bool) -> None:
    tool = Tool("add", "", {"type": "object", **parameters})
    constraint = COMPILER.from_lark(call_grammar(use([tool], required=True), HERMES)).constraint()
    text = HERMES.write([("add", '{"a": 1, "b": 2}')])
    with contextlib.nullcontext() if accepted else pytest.raises(RequestError, match="any further"):
        for token_id in TOKENIZER.encode(text, add_bos=False, parse_special=False):
            constraint.accept(token_id)


@pytest.mark.parametrize("parameters", [{"properties": {}, "required": 5}, {"properties": {}, "required": [{}]}])
def test_arguments_that_are_no_schema_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        COMPILER.from_lark(call_grammar(use([Tool("f", "", parameters)]), HERMES))
