"""Templates come from strangers: each ends soon, in bounded memory, and sees nothing of Python's internals."""

import enum
import itertools

import pytest

from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer.chat_template import render

MESSAGES = [{"role": "user", "content": "a"}]
TOO_LONG = "a chat template may not make"

DOUBLING = (
    "{% set ns = namespace(x='1' * 100000) %}{% for i in range(60) %}{% set ns.x = DOUBLE %}{% endfor %}{{ ns.x }}"
)


@pytest.mark.parametrize(
    "expression",
    [
        "100000000 * [1]",
        "'a' | safe * 100000000",
        "'%999999999d' % 1",
        "'%.999999999f' % 1",
        "('%.' ~ '0' * 30 ~ '999999999f') % 1",
        "('{:.' ~ '0' * 30 ~ '999999999f}').format(1)",
        "('%(a)s' * 100000) % {'a': 'b' * 100000}",
        "'%999999999d' | format(1)",
        "'{:999999999}'.format(1)",
        "'{:{w}}'.format(1, w=999999999)",
        "'{x:>999999999}'.format_map({'x': 1})",
        "('{:999999999}' | safe).format(1)",
        "('{0}' * 100000).format('b' * 1000000)",
        "'a'.ljust(999999999)",
        "'a'.rjust(999999999)",
        "'a'.center(999999999)",
        "'a'.zfill(999999999)",
        "('a' | safe).center(999999999)",
        "'a' | center(999999999)",
        "('a' * 100000).replace('a', 'b' * 100000)",
        "('a' * 100000).replace('', 'b' * 100000)",
        "('a' * 100000) | replace('a', 'b' * 100000)",
        "('b' * 100000).join('a' * 100000)",
        "('a' * 100000) | join('b' * 100000)",
        "range(100000) | map('center', 100000) | join",
        "'a\\nb' | indent(999999999)",
        "('a\\n' * 100000) | indent('b' * 100000)",
        "[1] | batch(999999999, 'x') | list",
        "[1] | slice(999999999) | list",
        "range(1000) | list | tojson(separators=('a' * 1000000, ':'))",
    ],
)
def test_no_operation_makes_large_values(expression: str) -> None:
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render("{{ " + expression + " }}", MESSAGES)


@pytest.mark.parametrize(
    "expression",
    [
        "10 ** 1000000000",
        "2.5 | round(1000000000, 'ceil')",
        "('f' * 1000000) | int(0, 16)",
        "'%*d' % (999999999, 1)",
        "'%(a(b))999999999d' % {'a(b)': 1}",
        "[1] | tojson(indent=999999999)",
        "'a\\t'.expandtabs(999999999)",
        "'a'.translate({97: 'b'})",
        "'a'.encode()",
        "(1).to_bytes(999999999, 'big')",
        "('<!--' * 1000000) | striptags",
        "'a b' | wordwrap(1)",
        "lipsum(n=100000000)",
        "range(10 ** 9)",
        "''.__class__.__mro__[1].__subclasses__()",
        "messages[0].update({})",
        "messages[0].__setitem__('a', 1)",
        "namespace(__class__=1)",
        "dict.mro()",
        "raise_exception.__globals__.x",
    ],
)
def test_other_refused_operations(expression: str) -> None:
    with pytest.raises(TokenizerError, match="chat template"):
        render("{{ " + expression + " }}", MESSAGES)


@pytest.mark.parametrize(
    "double",
    [
        "ns.x ~ ns.x",
        "[ns.x, ns.x]",
        "(ns.x, ns.x)",
        "{'a': ns.x, 'b': ns.x}",
        "dict(a=ns.x, b=ns.x)",
        "dict.fromkeys('ab', ns.x)",
        "[ns.x] * 2",
        "[ns.x] + [ns.x]",
        "'%s%s' % (ns.x, ns.x)",
        "'{0}{0}'.format(ns.x)",
        "[ns.x, ns.x] | join",
        "(ns.x | string).replace('1', '11')",
    ],
)
def test_values_cannot_double_for_ever(double: str) -> None:
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render(DOUBLING.replace("DOUBLE", double), MESSAGES)


def test_a_list_in_lists_cannot_be_exponential_as_text() -> None:
    source = "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}"
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render(source, MESSAGES)


def test_blocks_and_macros_cannot_double_for_ever() -> None:
    block = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render(block + "{% endfor %}", MESSAGES)
    names = "abcdefghijklmnopqrstuvwxyz"
    macros = "".join(
        f"{{% macro {a}() %}}{{{{ {b}() }}}}{{{{ {b}() }}}}{{% endmacro %}}" for a, b in itertools.pairwise(names)
    )
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render("{% macro z() %}{{ 'x' * 100000 }}{% endmacro %}" + macros + "{{ a() }}", MESSAGES)


def test_generators_cannot_nest_until_python_crashes() -> None:
    loops = (
        "{% for i in range(1000) %}{% for j in range(1000) %}{% set ns.x = ns.x | map('abs') %}{% endfor %}{% endfor %}"
    )
    with pytest.raises(TokenizerError, match=TOO_LONG):
        render("{% set ns = namespace(x=[1]) %}" + loops, MESSAGES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loop",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) if range(100000) | select('none') | list %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
        "{% set big = 'a' * 16000000 %}{% for i in range(100000) %}{% if 'b' in big %}{% endif %}{% endfor %}",
    ],
)
def test_loops_end(loop: str) -> None:
    with pytest.raises(TokenizerError, match=r"more than 5 seconds|or loop that long"):
        render(loop, MESSAGES)


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
        "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
        "{{ " + "1+" * 20_000 + "1 }}",
        "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
        "{% for a in b %}" * 200 + "{% endfor %}" * 200,
        "{{ " + "9" * 100_000 + " }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
    ],
)
def test_deep_and_odd_templates_end_in_an_error(source: str) -> None:
    with pytest.raises(TokenizerError, match="chat template"):
        render(source, MESSAGES)


def test_ordinary_formatting_is_within_the_limits() -> None:
    source = (
        "{{ '%05.1f|%-4s|%(' % (2, 'a') if false }}{{ '%05.1f|%-4s|' % (2, 'a') }}{{ '{:>4}{b}'.format(1, b='c') }}"
        "{{ 'a'.center(5) ~ ('-' * 3) ~ 2 ** 10 ~ ('%(x)s' | format(x=1)) ~ ('{a}'.format_map({'a': 7})) }}"
        "{{ ['a', 1] | join(', ') }}{{ ', '.join(['a', 'b']) }}{{ messages | join('|', attribute='role') }}"
    )
    assert render(source, MESSAGES) == "002.0|a   |   1c  a  ---102417a, 1a, buser"


def test_an_error_names_the_line_or_shows_the_templates_own_message() -> None:
    with pytest.raises(TokenizerError, match=r"not valid jinja2: .*\(line 2\)"):
        render("a\n{% nothing %}", MESSAGES)
    with pytest.raises(TokenizerError, match="cannot render these messages: only é"):
        render("{{ raise_exception('only é') }}", MESSAGES)


def test_templates_get_copies_of_plain_values() -> None:
    class Role(enum.StrEnum):
        USER = "user"

    class Count(int):
        pass

    source = "{{ messages[0].role }} {{ n }} {{ r }} {{ t }}{{ messages[0].role.name }}{{ n.denominator }}"
    assert (
        render(source, [{"role": Role.USER}], {"n": Count(3), "r": 2.5, "t": (1, [True])}) == "user 3 2.5 (1, [True])1"
    )
    with pytest.raises(RequestError, match="not a object"):
        render("", [{"role": object()}])
    endless: list = []
    endless.append(endless)
    with pytest.raises(RequestError, match="nested"):
        render("", [{"role": endless}])


def test_defaults_of_transformers() -> None:
    source = "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ bos_token is defined }}"
    assert render(source, MESSAGES) == "TrueTrueFalseFalse"
    message = {"role": "assistant", "content": None, "reasoning": "hm"}
    source = "{{ 'content' in messages[0] }} {{ messages[0].thinking }} {{ messages[0].reasoning_content }}"
    assert render(source, [message]) == "False hm hm"
