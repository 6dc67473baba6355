"""Every text that a grammar's masks allow fits the grammar, and what cannot be enforced is refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitnet_tt
from bitnet_tt.errors import RequestError
from bitnet_tt.tokenizer import Tokenizer

pytest.importorskip("llguidance", reason="llguidance is not installed; it is part of the extra [server]")
from bitnet_tt.server.structured_output import Grammar, GrammarCompiler

VOCAB = 2048
EOS = frozenset({1, 2})
TOKENIZER = Tokenizer.from_path(Path(bitnet_tt.__file__).parent / "assets/demo")
COMPILER = GrammarCompiler(TOKENIZER, VOCAB, EOS)


def allowed(mask: np.ndarray) -> list[int]:
    """Return the ids of a mask."""
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()


def random_text(grammar: Grammar, seed: int, limit: int = 2000) -> str:
    """Return a text of random allowed tokens. An end of text is taken as soon as it is allowed, but not at once.

    A token that is said to be forced is the only one that the mask allows, asked before the mask or not at all.
    """
    random = np.random.default_rng(seed)
    constraint = grammar.constraint()
    ids: list[int] = []
    for _ in range(limit):
        forced = constraint.forced() if random.random() < 0.7 else None
        choices = allowed(constraint.mask())
        assert forced is None or choices == [forced]
        ends = [token_id for token_id in choices if token_id in EOS]
        assert set(choices) & TOKENIZER.special_ids <= EOS
        token_id = ends[0] if ends and random.random() < 0.5 else int(random.choice(choices))
        ids.append(token_id)
        constraint.accept(token_id)
        if token_id in EOS:
            return TOKENIZER.decode(ids)
    raise AssertionError("the text did not end")


scalars = st.sampled_from(
    [
        {"type": "integer", "minimum": -5, "maximum": 300},
        {"type": "string", "maxLength": 6},
        {"enum": ["é", "日本", 'a"b', "\\"]},
        {"type": "boolean"},
        {"type": "null"},
    ]
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, inner),
        st.dictionaries(st.sampled_from(["a", "é", "long name", '"']), inner, max_size=3).map(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            }
        ),
    ),
    max_leaves=6,
)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether a value fits one of the schemas above."""
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "array":
        return isinstance(value, list) and len(value) <= 3 and all(fits(item, schema["items"]) for item in value)
    if schema["type"] == "object":
        fields = schema["properties"]
        return value.keys() == fields.keys() and all(fits(value[name], fields[name]) for name in fields)
    if schema["type"] == "integer":
        return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    if schema["type"] == "string":
        return isinstance(value, str) and len(value) <= 6
    return value is None if schema["type"] == "null" else isinstance(value, bool)


@given(schema=schemas, seed=st.integers(0, 2**32))
def test_random_texts_of_a_schema_fit_it(schema: dict[str, Any], seed: int) -> None:
    text = random_text(COMPILER.from_json_schema(schema), seed)
    assert fits(json.loads(text), schema)
    assert "\n" not in text


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[a-c]{1,4}", "(ja|nein|日本)", "a*b"])
@pytest.mark.parametrize("seed", range(5))
def test_random_texts_of_a_regular_expression_match_it(pattern: str, seed: int) -> None:
    assert re.fullmatch(pattern, random_text(COMPILER.from_regex(pattern), seed))


@given(
    choices=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_random_texts_of_choices_are_choices(choices: list[str], seed: int) -> None:
    assert random_text(COMPILER.from_choice(choices), seed) in choices


def test_a_grammar_of_lark() -> None:
    grammar = COMPILER.from_lark('start: "(" start ")" | "x"')
    for seed in range(10):
        text = random_text(grammar, seed)
        depth = text.count("(")
        assert text == "(" * depth + "x" + ")" * depth


def test_texts_of_one_grammar_are_independent() -> None:
    grammar = COMPILER.from_regex("ab|cd")
    first, second = grammar.constraint(), grammar.constraint()
    before = first.mask()
    second.accept(allowed(second.mask())[0])
    assert np.array_equal(first.mask(), before)


def test_the_keys_of_a_schema_are_forced() -> None:
    constraint = COMPILER.from_json_schema(
        {"type": "object", "properties": {"a long name": {"type": "integer"}}, "required": ["a long name"]}
    ).constraint()
    ids = []
    while (token_id := constraint.forced()) is not None:
        ids.append(token_id)
        constraint.accept(token_id)
    assert TOKENIZER.decode(ids).startswith('{"a long name":')


def test_bits_past_the_vocabulary_are_zero() -> None:
    compiler = GrammarCompiler(TOKENIZER, 2040, EOS)
    mask = compiler.from_regex("(?s:.)*").constraint().mask()
    assert (mask.dtype, mask.shape) == (np.uint32, (64,))
    assert max(allowed(mask)) < 2040


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, "Invalid type: nonsense"),
        ({"not": {"type": "string"}}, 'Unimplemented keys: ."not".'),
        ({"$ref": "#/nowhere"}, "does not exist"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"a": object()}, "not valid"),
    ],
)
def test_schemas_that_cannot_be_enforced_are_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        COMPILER.from_json_schema(schema)


def test_other_grammars_that_cannot_be_enforced_are_refused() -> None:
    with pytest.raises(RequestError, match=r"regular expression cannot be enforced.*"):
        COMPILER.from_regex("(")
    with pytest.raises(RequestError, match=r"grammar cannot be enforced.*"):
        COMPILER.from_lark("start: missing")


def test_sources_that_are_too_long_or_in_another_language_are_refused() -> None:
    with pytest.raises(RequestError, match="this server takes 1048576"):
        COMPILER.from_choice(["x" * 1_100_000])
    with pytest.raises(RequestError, match=r"GBNF.*Lark"):
        COMPILER.from_lark('root ::= "a"')
    assert random_text(COMPILER.from_lark('start: "::="'), 0) == "::="
    with pytest.raises(RequestError, match="not valid Unicode"):
        COMPILER.from_lark('start: "\ud800"')


def test_a_grammar_with_too_many_symbols_is_refused() -> None:
    many = {"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(5000)}}
    with pytest.raises(RequestError, match="cannot be enforced"):
        COMPILER.from_json_schema(many)


def test_a_token_that_is_not_allowed_is_refused() -> None:
    constraint = COMPILER.from_regex("[0-9]+").constraint()
    with pytest.raises(RequestError, match="cannot be enforced any further"):
        constraint.accept(TOKENIZER.encode("x", add_bos=False)[0])
    with pytest.raises(RequestError, match="cannot be enforced any further"):
        constraint.mask()
