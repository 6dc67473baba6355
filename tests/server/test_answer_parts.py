"""The parts of an answer are found however its text is cut, in every syntax of calls."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.server.answer_parts import AnswerParts, Step
from bitnet_tt.server.call_syntax import FALCON, HERMES, LLAMA, CallSyntax

SYNTAXES = [HERMES, FALCON, LLAMA]

texts = st.text(alphabet='ab{}"<>/_ tol\nc', max_size=20).filter(lambda text: "<tool_call>" not in text)
arguments = st.recursive(
    st.one_of(st.text(max_size=12), st.integers(), st.none(), st.just('\n</tool_call>"}, {"name": "')),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["name", "a"]), inner)),
    max_leaves=4,
)
calls = st.lists(st.tuples(st.sampled_from(["weather", "add-2"]), st.dictionaries(st.text(max_size=3), arguments)))


def steps(syntax: CallSyntax | None, pieces: list[str]) -> list[Step]:
    parts = AnswerParts(syntax)
    found = [step for piece in pieces for step in parts.push(piece)]
    return found + list(parts.push("", last=True))


def cut(text: str, cuts: list[int]) -> list[str]:
    at = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    return [text[start:end] for start, end in itertools.pairwise(at)]


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(text=texts, calls=calls, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_parts_are_found_however_the_text_is_cut(syntax: CallSyntax, text: str, calls: list, cuts: list[int]) -> None:
    written = [(name, json.dumps(values)) for name, values in calls]
    if syntax.between is None:
        written, text = written[:1], "" if written else text
    whole = text + (syntax.write(written) if written else "")
    found = steps(syntax, cut(whole, cuts))
    expected = [*([(None, text)] if text or not written else []), *written]
    parts = list({id(step.part): step.part for step in found}.values())
    assert [(part.tool, part.text) for part in parts] == expected
    assert [part.place for part in parts] == list(range(len(expected)))
    assert [part.call for part in parts if part.tool is not None] == list(range(len(written)))
    # Each part begins, gets its text, and ends, before the next one begins.
    kinds = [(step.kind, step.part.place) for step in found]
    order = {"begin": 0, "text": 1, "end": 2}
    assert kinds == sorted(kinds, key=lambda one: (one[1], order[one[0]]))
    assert [kind for kind, _ in kinds if kind != "text"] == ["begin", "end"] * len(expected)
    assert all("".join(s.text for s in found if s.part is part) == part.text for part in parts)


def test_text_is_not_held_back_longer_than_needed() -> None:
    parts = AnswerParts(HERMES)
    assert [(step.kind, step.text) for step in parts.push("Hello <")] == [("begin", ""), ("text", "Hello ")]
    assert [step.text for step in parts.push("b>")] == ["<b>"]
    found = list(parts.push('<tool_call>\n{"name": "weather", "arguments": {"a"'))
    assert [(step.kind, step.part.tool, step.text) for step in found] == [
        ("end", None, ""),
        ("begin", "weather", ""),
        ("text", "weather", '{"a"'),
    ]


def test_without_tools_all_is_text() -> None:
    text = HERMES.write([("weather", "{}")])
    assert [(part.tool, part.text) for part in AnswerParts(None).push_all(text)] == [(None, text)]
    assert [(part.tool, part.text) for part in AnswerParts(None).push_all("")] == [(None, "")]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_call_that_is_cut_is_no_complete_call(syntax: CallSyntax) -> None:
    whole = syntax.write([("weather", '{"a": 5}')])
    for length in range(len(whole) + 1):
        parts = AnswerParts(syntax)
        found = parts.push_all(whole[:length])
        assert parts.ends_with_call == (length == len(whole))
        # No frame and no half of a call is shown as text, once the call is certain.
        assert syntax.mark not in found[0].text or found[0].tool is not None


def test_a_second_call_without_a_frame_is_dropped() -> None:
    text = LLAMA.write([("a", "{}")]) + LLAMA.write([("b", "{}")])
    assert [part.tool for part in AnswerParts(LLAMA).push_all(text)] == ["a"]
