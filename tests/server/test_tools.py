"""Turns with tool calls are valid by their grammar, and the parser finds the same calls however the text is cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.errors import RequestError
from bitnet_tt.server.tools import (
    Tool,
    ToolCallParser,
    ToolEvent,
    call_grammar,
    call_text,
    instructions,
)

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
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 3}},
    },
)
NOTHING = Tool("nothing", "Takes no arguments.", {"type": "object", "properties": {}, "additionalProperties": False})


def parse(pieces: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Return the content and the calls of a turn."""
    parser = ToolCallParser()
    events: list[ToolEvent] = [event for piece in pieces for event in parser.push(piece)] + list(parser.flush())
    calls: list[list[str]] = []
    for event in events:
        if event.kind == "call":
            calls.append([event.text, ""])
            assert event.index == len(calls) - 1
        elif event.kind == "arguments":
            calls[event.index][1] += event.text
    return "".join(event.text for event in events if event.kind == "content"), [(name, text) for name, text in calls]


contents = st.text(alphabet='ab{}"<>/_ tol\nc', max_size=20).filter(lambda text: "<tool_call>" not in text)
arguments = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=12), st.integers(), st.none()), max_size=3)
calls = st.lists(st.tuples(st.sampled_from(["weather", "add-2"]), arguments), max_size=3)


@given(content=contents, calls=calls, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_the_parser_finds_the_calls_however_the_text_is_cut(
    content: str, calls: list[tuple[str, dict]], cuts: list[int]
) -> None:
    written = [(name, json.dumps(values)) for name, values in calls]
    text = content + "\n".join(call_text(name, values) for name, values in written)
    at = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    found, found_calls = parse(pieces)
    assert found_calls == written
    assert found == content or (not content.strip() and not found.strip())


def test_text_is_not_held_back_longer_than_needed() -> None:
    parser = ToolCallParser()
    assert list(parser.push("Hello <")) == [ToolEvent("content", "Hello ")]
    assert list(parser.push("b>")) == [ToolEvent("content", "<b>")]
    assert list(parser.push('<tool_call>\n{"name": "weather", "arguments": {"a"')) == [
        ToolEvent("call", "weather", 0),
        ToolEvent("arguments", '{"a"', 0),
    ]


def test_instructions_describe_each_tool() -> None:
    text = instructions([WEATHER, NOTHING])
    assert "The weather of a city." in text
    assert '"city"' in text
    assert call_text("function name", "{}") in text


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é", 'a"b'])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="tool name"):
        Tool(name, "", {})


class TestGrammar:
    """Random texts of the grammar, made from its masks."""

    @pytest.fixture(autouse=True)
    def _llguidance(self) -> None:
        pytest.importorskip("llguidance", reason="llguidance is not installed; it is part of the extra [server]")

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("parallel", [False, True])
    @pytest.mark.parametrize("tools", [[WEATHER], [WEATHER, REFERRING, NOTHING]])
    def test_required_turns_hold_only_valid_calls(self, tools: list[Tool], parallel: bool, seed: int) -> None:
        from tests.server.test_structured_output import COMPILER, random_text

        text = random_text(COMPILER.from_lark(call_grammar(tools, required=True, parallel=parallel)), seed)
        content, found = parse([text])
        assert content == ""
        assert len(found) >= 1 if parallel else len(found) == 1
        for name, values in found:
            assert name in [tool.name for tool in tools]
            given = json.loads(values)
            if name == "weather":
                assert given["city"] in ("Paris", "東京")
                assert 0 <= given["days"] <= 9
            elif name == "add-2":
                assert 0 <= given["a"] <= 3
            else:
                assert given == {}

    @pytest.mark.parametrize("seed", range(8))
    def test_other_turns_are_text_or_valid_calls(self, seed: int) -> None:
        from tests.server.test_structured_output import COMPILER, TOKENIZER, random_text

        grammar = COMPILER.from_lark(call_grammar([WEATHER], required=False, parallel=True))
        content, found = parse([random_text(grammar, seed)])
        assert content or found

        def accept(text: str) -> None:
            constraint = grammar.constraint()
            for token_id in TOKENIZER.encode(text, add_bos=False, parse_special=False):
                constraint.accept(token_id)

        for text in ("Hello <b>!", "<tool_call", call_text("weather", '{"city": "Paris", "days": 1}')):
            accept(text)
        with pytest.raises(RequestError, match="any further"):
            accept("<tool_call> x")
