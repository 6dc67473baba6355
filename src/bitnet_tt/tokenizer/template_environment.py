"""The jinja2 dialect of chat templates: what Hugging Face transformers gives them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.utils import Namespace

from bitnet_tt.tokenizer.template_limits import LimitedEnvironment

_MAX_INDENT = 1000
"""Limit of the spaces before a line of JSON, for each level."""


@cache
def environment() -> jinja2.Environment:
    """Return jinja2's sandbox with the settings, tags, functions and filters of transformers, and with limits."""
    dialect = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, "jinja2.ext.loopcontrols"]
    )
    dialect.filters["tojson"] = _tojson
    dialect.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_TemplateDict(), namespace=_TemplateNamespace
    )
    return dialect


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what the assistant wrote, for training. It adds no text.

    It is a call block, as in transformers: a variable that is set inside does not exist after it.
    """

    tags = {"generation"}  # noqa: RUF012  # the type of the base class

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller: Callable[[], str]) -> str:
        return caller()


class _TemplateDict:
    """The function `dict` of templates. The class itself would give them its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _TemplateNamespace(Namespace):
    """The function `namespace` of templates: no names of Python's internals, and its text does not show the values."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `self` may be one of the names
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the names of a namespace may not begin with an underscore, but got {name!r}")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as `json.dumps` writes it. jinja2's own filter would write `<` as an escape."""
    if (indent if isinstance(indent, int) else len(indent or "")) > _MAX_INDENT:
        raise SecurityError(f"a chat template may not indent JSON by more than {_MAX_INDENT}")
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return LimitedEnvironment.concat(encoder.iterencode(value))  # counts while it joins
