"""Record what Hugging Face transformers renders, as the expected texts of tests/tokenizer/test_recorded_templates.py.

README.md says how to make the environment. BitNet-TT is not needed in it.

    python tools/record_transformers/record_templates.py tests/tokenizer

The folder has the templates in chat_templates/. The result is recorded_templates.json in it.
"""

from __future__ import annotations

import datetime
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
RANDOM_TEMPLATES = 400

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather <of today>.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city,\nor a part of it."},
                    "unit": {"type": "string", "enum": ["°C", "°F"]},
                    "days": {"type": ["integer", "null"]},
                    "at": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "array"}}},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "sum",
            "description": "Add & return.",
            "parameters": {
                "type": "object",
                "properties": {
                    "values": {"type": "array", "items": {"type": "number"}},
                    "more": {"oneOf": [{"type": "string", "default": "é"}, {"type": "array", "items": {}}]},
                    "map": {"type": "object", "additionalProperties": {"type": "boolean"}},
                },
            },
            "return": {"type": "number"},
        },
    },
    {"type": "function", "function": {"name": "ping", "description": "Ping.", "parameters": {}}},
]
CALL = {
    "id": "abc123def",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2, "exact": True, "at": {"x": 0.5}}},
}
SUM = {"id": "def456abc", "type": "function", "function": {"name": "sum", "arguments": {"values": [1, 2.5, None]}}}
USER = {"role": "user", "content": "  What is 12 plus 30?\n"}
SYSTEM = {"role": "system", "content": "Be brief."}

CHATS: dict[str, dict[str, Any]] = {
    "one": {"messages": [USER], "add_generation_prompt": True},
    "system": {"messages": [SYSTEM, USER], "add_generation_prompt": True},
    "answered": {"messages": [SYSTEM, USER, {"role": "assistant", "content": " 42.\n"}]},
    "turns": {
        "messages": [
            SYSTEM,
            USER,
            {"role": "assistant", "content": "<think>\n12 + 30\n</think>\n\n42."},
            {"role": "user", "content": "And < & > \" ' é 日本語 🙂 e\u0301 \u2028?"},
            {"role": "assistant", "content": "<think>hm</think>No."},
            {"role": "user", "content": ""},
        ],
        "add_generation_prompt": True,
    },
    "not alternating": {"messages": [USER, USER, {"role": "assistant", "content": "42"}]},
    "assistant first": {"messages": [{"role": "assistant", "content": "Hi"}, USER], "add_generation_prompt": True},
    "no content": {"messages": [USER, {"role": "assistant", "content": None}, {"role": "user"}]},
    "unknown role": {"messages": [USER, {"role": "critic", "content": "Well"}], "add_generation_prompt": True},
    "developer": {"messages": [{"role": "developer", "content": "Help."}, USER], "add_generation_prompt": True},
    "tools": {"messages": [USER], "tools": TOOLS, "add_generation_prompt": True},
    "tools and system": {"messages": [SYSTEM, USER], "tools": TOOLS[:1], "add_generation_prompt": True},
    "no tools": {"messages": [SYSTEM, USER], "tools": [], "documents": [], "add_generation_prompt": True},
    "call": {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "18 °C", "tool_call_id": "abc123def"},
            {"role": "assistant", "content": "It is 18 °C.", "tool_calls": None},
            {"role": "user", "content": "Thanks."},
        ],
        "tools": TOOLS,
        "add_generation_prompt": True,
    },
    "two calls": {
        "messages": [
            SYSTEM,
            USER,
            {"role": "assistant", "content": "I look.", "tool_calls": [CALL, SUM]},
            {"role": "tool", "content": '{"t": 18}', "tool_call_id": "abc123def"},
            {"role": "tool", "content": "3.5", "tool_call_id": "def456abc"},
        ],
        "tools": TOOLS[:2],
        "add_generation_prompt": True,
    },
    "call with text arguments": {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "x", "function": {"name": "sum", "arguments": '{"values": [1]}'}}],
            },
            {"role": "tool", "content": {"sum": 1}, "tool_call_id": None},
        ],
        "tools": TOOLS[:2],
    },
    "builtin tools": {
        "messages": [SYSTEM, USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
        "builtin_tools": ["interpreter", "weather", "search"],
        "date_string": "3 Mar 2030",
    },
    "system tools": {
        "messages": [SYSTEM, USER],
        "tools": TOOLS[:1],
        "tools_in_user_message": False,
        "add_generation_prompt": True,
    },
    "thinking": {
        "messages": [USER, {"role": "assistant", "content": "42", "reasoning_content": "\n12 + 30\n"}],
        "enable_thinking": True,
    },
    "gpt thinking": {"messages": [USER, {"role": "assistant", "content": "42", "thinking": "12 + 30"}]},
    "reasoning": {"messages": [USER, {"role": "assistant", "content": "42", "reasoning": "sum", "thinking": None}]},
    "no thinking": {"messages": [SYSTEM, USER], "enable_thinking": False, "add_generation_prompt": True},
    "thinking by system": {
        "messages": [{"role": "system", "content": "Hm. /no_think "}, USER, {"role": "assistant", "content": "42"}],
        "reasoning_effort": "high",
        "add_generation_prompt": True,
    },
    "documents": {
        "messages": [SYSTEM, USER, {"role": "assistant", "content": " 42 "}],
        "documents": [{"title": "on foxes", "text": "A fox\nis red."}, {"title": "numbers", "text": "12", "page": 3}],
        "citation_mode": "accurate",
        "safety_mode": "strict",
    },
    "content list": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": " See "}, {"type": "image"}]},
        ],
        "add_generation_prompt": True,
    },
    "other bos": {"messages": [USER], "bos_token": "<other>", "unk_token": "<unk>", "model_identity": "I am I."},
}

FILTERS = [
    *("abs", "attr('role')", "batch(2) | list", "batch(3, 'x') | list", "capitalize", "center(9)", "count", "d('D')"),
    *("default('D')", "default('D', true)", "dictsort", "dictsort(by='value')", "dictsort(true, reverse=true)", "e"),
    *("escape", "filesizeformat", "first", "float", "forceescape", "format('a', 2)", "groupby('role') | list"),
    *(
        "indent",
        "indent(2, true)",
        "indent('>', blank=true)",
        "int",
        "int(7, 16)",
        "items | list",
        "join",
        "join(', ')",
    ),
    *("join('|', attribute='role')", "last", "length", "list", "lower", "map('upper') | list", "map(attribute='role')"),
    *("map(attribute='content') | list", "map('default', 'x') | join(',')", "max", "min", "reject('none') | list"),
    *("rejectattr('content') | list", "replace('a', 'bb')", "replace('', '.', 2)", "reverse | list", "round", "safe"),
    *("round(1, 'floor')", "select('string') | list", "selectattr('role', 'eq', 'user') | list", "slice(2) | list"),
    *("select", "sort", "sort(attribute='role')", "string", "sum", "sum(start=[])", "title", "tojson", "trim", "upper"),
    *("tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))", "tojson(sort_keys=true)"),
    *(
        "tojson(true, 1)",
        "trim('?')",
        "truncate(8)",
        "truncate(5, true, '')",
        "unique | list",
        "urlencode",
        "wordcount",
    ),
    *("xmlattr", "nothing", "map('nothing') | list", "tojson | length"),
]
TESTS = [
    *("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping"),
    *(
        "iterable",
        "sequence",
        "callable",
        "even",
        "odd",
        "divisibleby 3",
        "lower",
        "upper",
        "in ['a', 1]",
        "sameas none",
    ),
    *("eq 1", "equalto 'user'", "ne none", "gt 1", "le 2", "filter", "escaped", "nothing"),
]
METHODS = [
    *(".strip()", ".split()", ".split('a')", ".split('</think>')[-1]", ".lstrip('\\n')", ".rstrip()", ".upper()"),
    *(".startswith('a')", ".endswith(('a', '?'))", ".replace('a', '')", ".format(1, a=2)", ".join(['x', 'y'])"),
    *(".get('role')", ".get('x', 'none')", ".items()", ".keys() | list", ".values() | list", ".role", "['content']"),
    *("[0]", "[-1]", "[::-1]", "[1:]", "[:2]", "[9]", ".x", ".x.y", "['x']", ".pop()", ".append(1)", ".update({})"),
    *(".tool_calls", ".function", ".arguments", ".index0", ".find('a')", ".count('a')", ".title()", ".zfill(4)"),
    *(".ljust(3)", ".partition('a')", ".isdigit()", ".splitlines()", ".removeprefix('a')", ".copy()", ".__class__"),
    *("._x", ".name", "['items']", ".items", ".bit_length()", ".real", ".casefold()", ".rsplit(' ', 1)"),
]
ATOMS = [
    *("messages", "messages[0]", "messages[-1]", "messages[0].content", "messages[1]['role']", "tools", "tools[0]"),
    *("documents", "bos_token", "eos_token", "unk_token", "add_generation_prompt", "enable_thinking", "m", "m.content"),
    *("m['role']", "m.tool_calls", "x", "ns", "ns.a", "ns.b", "loop", "loop.index", "loop.first", "loop.last", "none"),
    *("loop.previtem", "loop.nextitem.role", "loop.length", "loop.revindex0", "loop.depth", "loop.cycle('p', 'q')"),
    *("loop.changed(m)", "true", "False", "None", "0", "1", "-3", "2.5", "1e3", "'a'", '"é\\n"', "'A b-c'", "''"),
    *(
        "'{} {a}'",
        "'%s-%03d'",
        "'<&>'",
        "[]",
        "[1, 'a', none]",
        "(1, 2)",
        "{}",
        "{'role': 'r', 'b': [2, 1]}",
        "range(3)",
    ),
    *("dict(a=1)", "dict.fromkeys('ab')", "namespace(a=1).a", "strftime_now('%Y-%m')", "f(1)", "f('b', c='d')", "f"),
    *("raise_exception", "caller", "caller()", "joiner(',')()", "cycler('a', 'b').next()", "self", "varargs", "kwargs"),
]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "and", "or", "in", "not in"]


class RandomTemplate:
    """Templates made of pieces of the dialect. Most render; the others end in an error."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def template(self) -> str:
        """Return a template."""
        return self.macro() * self.one_of(0, 0, 1) + self.body(self.one_of(0, 1, 1, 2, 3))

    def one_of(self, *choices: Any) -> Any:
        """Return one of the choices."""
        return self.random.choice(choices)

    def expression(self, depth: int) -> str:
        """Return an expression. Its parts are `depth` levels deep at most."""
        kind = self.random.random()
        if depth == 0 or kind < 0.25:
            return self.one_of(*ATOMS)
        inner = self.expression(depth - 1)
        if kind < 0.5:
            return f"{inner} | {self.one_of(*FILTERS)}"
        if kind < 0.65:
            return f"({inner}){self.one_of(*METHODS)}" if " " in inner else inner + self.one_of(*METHODS)
        if kind < 0.75:
            return f"({inner} is {self.one_of('', 'not ')}{self.one_of(*TESTS)})"
        other = self.expression(depth - 1)
        if kind < 0.9:
            operator = self.one_of(*OPERATORS)
            return f"({inner}) {operator} ({self.one_of('2', other) if operator == '**' else other})"
        if kind < 0.95:
            return f"({inner} if {other}{self.one_of('', ' else ' + self.one_of(*ATOMS))})"
        return self.one_of(f"[{inner}, {other}]", f"{{'a': {inner}, 'b': {other}}}", f"not ({inner})", f"({inner},)")

    def tag(self, content: str) -> str:
        """Return a statement with random control of white space."""
        return f"{{%{self.one_of('', '', '-', '+')} {content} {self.one_of('', '', '-', '+')}%}}"

    def macro(self) -> str:
        """Return the macro `f`."""
        head = self.tag(self.one_of("macro f(b, c='C')", "macro f(b)", "macro f(b, c=b)"))
        uses = self.one_of("{{ b }}{{ c }}", "{{ varargs }}", "{{ caller() if caller }}", "{{ kwargs | tojson }}", "")
        return f"{head}[{uses}{self.body(1)}]{self.tag('endmacro')}"

    def body(self, depth: int) -> str:
        """Return several pieces with text between them."""
        pieces = [self.piece(depth) for _ in range(self.one_of(1, 1, 2, 3))]
        return self.one_of("", " ", "\n", "\n  ", " .\n\n").join(["", *pieces, ""])

    def piece(self, depth: int) -> str:
        """Return text, an output or a statement."""
        kind = self.random.random()
        if depth == 0 or kind < 0.3:
            return f"{{{{{self.one_of('', '-')} {self.expression(self.one_of(0, 1, 2))} {self.one_of('', '-')}}}}}"
        inner = self.body(depth - 1)
        if kind < 0.5:
            over = self.one_of("messages", "messages", "messages[::-1]", "range(4)", "tools", self.expression(1))
            head = f"for m in {over}{self.one_of('', '', ' if ' + self.expression(1), ' recursive')}"
            stop = self.one_of(
                "", "", "", self.tag("if " + self.expression(1)) + "{% break %}{% endif %}", "{% continue %}"
            )
            other = self.one_of("", "", self.tag("else") + "empty")
            return self.tag(head) + inner + stop + self.one_of("", "", "{{ loop.index }}") + other + self.tag("endfor")
        if kind < 0.6:
            return self.tag(f"if {self.expression(1)}") + inner + self.tag("else") + "else" + self.tag("endif")
        name = self.one_of("x", "m", "messages", "tools")
        if kind < 0.68:
            return self.tag(f"set {name} = {self.expression(2)}")
        if kind < 0.74:
            start = self.tag(f"set ns = namespace(a={self.expression(1)})")
            return start + inner + self.tag(f"set ns.{self.one_of('a', 'b', '_c')} = {self.expression(1)}")
        if kind < 0.86:
            head, end = self.one_of(
                ("generation", "endgeneration"),
                ("generation", "endgeneration"),
                ("filter upper", "endfilter"),
                ("filter indent(2)", "endfilter"),
                (f"set {name}", "endset"),
                (f"set {name} | trim", "endset"),
                ("call f(1)", "endcall"),
                ("call(y) f('q')", "endcall"),
                ("with m = 1, x = messages", "endwith"),
                ("raw", "endraw"),
                ("block b", "endblock"),
                ("autoescape true", "endautoescape"),
            )
            return self.tag(head) + inner + self.tag(end)
        return self.one_of(
            "text", "{# note #}", "{#- note -#}", "  {% if true %}\n yes\n  {% endif %}\n", "\n\n", "é<&"
        )


def is_repeatable(text: str) -> bool:
    """Return whether a text does not hold an address, an order of a set, or what jinja2's objects look like."""
    names = r" at 0x|<Namespace|<LoopContext|<built-in|bound method|<class|Undefined|TemplateReference"
    return not re.search(names, text, re.IGNORECASE)


def main() -> None:
    """Write recorded_templates.json."""
    import jinja2
    import tokenizers
    import transformers
    from transformers.utils import chat_template_utils

    class FixedTime(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW

    chat_template_utils.datetime = FixedTime
    engine = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, **SPECIAL_TOKENS)

    def render(source: str, chat: dict[str, Any]) -> str | None:
        """Return the text, or None for an error."""
        variables = {"add_generation_prompt": False} | {k: v for k, v in chat.items() if k != "messages"}
        try:
            return tokenizer.apply_chat_template(chat["messages"], chat_template=source, tokenize=False, **variables)
        except Exception:
            return None

    folder = Path(sys.argv[1])
    sources = {path.stem: path.read_text("utf-8") for path in sorted((folder / "chat_templates").glob("*.jinja"))}
    fragments: list[tuple[str, str, str | None]] = []
    seed = 0
    while len(fragments) < RANDOM_TEMPLATES:
        seed += 1
        source, name = RandomTemplate(seed).template(), random.Random(seed).choice(list(CHATS))
        text = render(source, CHATS[name])
        if text is None:
            is_wanted = sum(one[2] is None for one in fragments) < RANDOM_TEMPLATES // 4
        else:
            is_wanted = is_repeatable(text) and 0 < len(text) < 1000
        if is_wanted and len(source) < 600:
            fragments.append((source, name, text))
    recorded = {
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "now": NOW.isoformat(),
        "special_tokens": SPECIAL_TOKENS,
        "chats": CHATS,
        "templates": {
            template: {name: render(source, chat) for name, chat in CHATS.items()}
            for template, source in sources.items()
        },
        "fragments": fragments,
    }
    text = json.dumps(recorded, ensure_ascii=False, indent=1) + "\n"
    (folder / "recorded_templates.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
