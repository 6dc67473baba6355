"""CallSyntax: how models write calls of tools, and which way a chat template shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

OBJECT = '{"name": "'
"""The beginning of a call: a JSON object with the name of the tool and its arguments."""


@dataclass(frozen=True, slots=True)
class CallSyntax:
    """How a model writes calls: each is a JSON object, in a frame of fixed text.

    Attributes:
        first: The text before the first call. If it is empty, an answer is either text or a call.
        between: The text between two calls. None: an answer has one call at most.
        last: The text after the last call.
        arguments_key: The key of the arguments. That of the name is always `name`.
    """

    first: str
    between: str | None
    last: str
    arguments_key: str = "arguments"

    @property
    def mark(self) -> str:
        """The text that no other text of an answer contains; if `first` is empty, that none begins with."""
        return self.first.partition("\n")[0] or OBJECT

    @property
    def name_end(self) -> str:
        """The text between the name and the arguments of a call."""
        return f'", "{self.arguments_key}": '

    def object_begin(self, name: str) -> str:
        """Return the text of a call up to its arguments."""
        return OBJECT + name + self.name_end

    def write(self, calls: Iterable[tuple[str, str]]) -> str:
        """Return calls as the model writes them.

        Args:
            calls: The name of each tool, and the arguments as JSON.
        """
        written = [f"{OBJECT}{json.dumps(name)[1:-1]}{self.name_end}{arguments}}}" for name, arguments in calls]
        return self.first + (self.between or "").join(written) + self.last


HERMES = CallSyntax("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>")
"""The syntax of Hermes, Qwen and many others. Models whose template has no tools are told to use it."""

FALCON = CallSyntax("<tool_call>\n[\n  ", ",\n  ", "\n]\n</tool_call>")
"""The syntax of Falcon 3: one list of calls."""

LLAMA = CallSyntax("", None, "", "parameters")
"""The syntax of Llama 3.1 and 3.2 for functions of the user: one call without a frame."""

_BREAK = r"(?:\\n|\s)*"  # a line break, as it is or escaped in a string of the template
_QUOTE = r'\\?"'
_TEMPLATES = (
    (re.compile(rf"<tool_call>{_BREAK}\{{{_QUOTE}name{_QUOTE}: "), HERMES),
    (re.compile(rf"<tool_call>{_BREAK}\[{_BREAK}\{{{_QUOTE}name{_QUOTE}: "), FALCON),
    (re.compile(rf"\{{{_QUOTE}name{_QUOTE}: [^{{}},]*, {_QUOTE}parameters{_QUOTE}: "), LLAMA),
)
"""What the text of a template with tools contains, and the syntax that it means. The first that fits counts."""


@lru_cache(maxsize=8)
def shows_tools(template: str) -> bool:
    """Return whether a chat template shows tools to the model itself: it reads the variable `tools`."""
    # Imported here because only tools need it, and it takes long.
    import jinja2

    from bitnet_tt.tokenizer.template_environment import environment

    try:
        names = environment().parse(template).find_all(jinja2.nodes.Name)
    except (jinja2.TemplateError, RecursionError):  # rendering says what is wrong
        return False
    return any(name.name == "tools" for name in names)


def syntax_of(template: str) -> CallSyntax | None:
    """Return the syntax of calls that a chat template with tools shows; None if we do not know it."""
    return next((syntax for pattern, syntax in _TEMPLATES if pattern.search(template)), None)
