"""A jinja2 sandbox that also limits the memory and the time that a template takes.

jinja2's sandbox keeps a template from Python's internals. It does not stop `'a' * 10**10`, `'%9999999999d' % 1`, text
that doubles sixty times, or loops in loops. Here every operation that can make its result much larger than its operands
is checked before it runs. Every text, list and mapping that a template makes, and every step of a loop, then counts
against one budget, and the thread's CPU time is limited.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import GeneratorType
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import do_join, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from jinja2.utils import pass_eval_context
from markupsafe import Markup

MAX_SIZE = 1 << 24
"""Limit of one text, in characters, and of everything in one list or mapping."""

_ITEM_SIZE = 16
"""What an item of a list or mapping counts as, in characters."""

_TOTAL_SIZE = 1 << 28
"""Limit of all that one rendering makes, in characters."""

_STEP_SIZE = 64
"""What a call, a filter or a step of a loop counts as, for the memory that small results take."""

_GENERATOR_SIZE = 1 << 14
"""What a generator counts as, in characters. Python crashes when it frees 100,000 generators, each inside the next."""

_SECONDS = 5.0
"""Limit of the CPU time of one rendering. Real templates take milliseconds."""

_MAX_BITS = 1 << 16
"""Limit of an integer."""

_REFUSED_METHODS = frozenset({"encode", "expandtabs", "from_bytes", "striptags", "to_bytes", "translate"})
"""Methods of text and numbers that can take much memory or time, and that no chat template needs."""

_REFUSED_FILTERS = ("pprint", "striptags", "urlize", "wordwrap")
"""Filters that can take much memory or time, and that no chat template needs."""

_PERCENT = re.compile(r"%(?:\([^)]*\))?[#0 +-]*([0-9]+|\*)?(?:\.([0-9]+|\*))?")
"""A conversion of `%` formatting: width and precision."""


class _Budget:
    """What is left of the limits of one rendering."""

    def __init__(self) -> None:
        self.size = _TOTAL_SIZE
        self.deadline = time.thread_time() + _SECONDS

    def spend(self, size: int) -> None:
        self.size -= size
        if self.size < 0:
            raise SecurityError("a chat template may not make that many texts and lists or loop that long")
        if time.thread_time() > self.deadline:
            raise SecurityError(f"a chat template may not take more than {_SECONDS:g} seconds")


_budget: ContextVar[_Budget] = ContextVar("budget")


@contextmanager
def limits() -> Iterator[None]:
    """Give what compiles or renders a template in this block one budget."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _spend(size: int) -> None:
    _budget.get().spend(size)


def _limit(size: Any) -> None:
    """Refuse a size above the limit. The size may be of any type that a template passes as one."""
    if size > MAX_SIZE:
        raise SecurityError(f"a chat template may not make texts or lists longer than {MAX_SIZE}")


def _limit_bits(bits: int) -> None:
    if bits > _MAX_BITS:
        raise SecurityError(f"a chat template may not compute integers of more than {_MAX_BITS} bits")


def _count(value: Any) -> Any:
    """Return a value that the template made, after it is counted and found small enough."""
    if isinstance(value, str | bytes):
        _limit(len(value))
        _spend(len(value))
    elif isinstance(value, list | tuple | dict):
        _limit(_size(value))
        _spend(_ITEM_SIZE * len(value))
    elif isinstance(value, int):
        _limit_bits(value.bit_length())
    return value


def _size(value: object) -> int:
    """Return the size of a value and of all that is in it, in characters. What occurs twice counts twice.

    That is proportional to the length of the value as text, which for lists in lists can be exponential in their
    memory. The sum stops above the limit.
    """
    size, values = 0, [value]
    while values and size <= MAX_SIZE:
        one = values.pop()
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, list | tuple):
            size += _ITEM_SIZE * (1 + len(one))
            values += one
        elif isinstance(one, dict):
            size += _ITEM_SIZE * (1 + len(one))
            values += one.keys()
            values += one.values()
    return size


def _counting(values: Iterable[Any], extra: int = _STEP_SIZE) -> Iterator[Any]:
    """Yield values, and count the characters of each, and `extra` more."""
    for value in values:
        _spend(_size(value) + extra)
        yield value


def _number(digits: str) -> int:
    """Return a number, or for a very long one its first digits. Python refuses to convert long numbers."""
    return int(digits.lstrip("0")[:20] or "0")


def _check_percent(text: str, values: Any) -> None:
    """Refuse `text % values` if the result may be too long."""
    if re.search(r"%\([^)]*\(", text):  # such a name of a value would hide the width from the pattern
        raise SecurityError("a chat template may not have parentheses in the name of a formatted value")
    conversions = _PERCENT.findall(text)
    sizes = [size for conversion in conversions for size in conversion if size]
    if "*" in sizes:
        raise SecurityError("a chat template may not format with a computed width")
    _limit(sum(map(_number, sizes)) + len(conversions) * (_ITEM_SIZE + _size(values)))


def _check_replace(text: str, old: str, new: str, *_: Any) -> None:
    """Refuse `text.replace(old, new)` if the result may be too long."""
    _limit(len(text) + text.count(old) * len(new))


def _check_power(base: Any, exponent: Any) -> None:
    """Refuse a power that is a long integer."""
    if isinstance(base, int) and isinstance(exponent, int):
        _limit_bits(base.bit_length() * exponent)


def _check_int(value: Any, *_: Any, **__: Any) -> None:
    """Refuse a text that may be a long integer. A digit has up to 5.2 bits, in base 36."""
    if isinstance(value, str):
        _limit_bits(6 * len(value))


class _CheckedFormat:
    """Check the widths of `str.format`, and count its pieces."""

    def format_field(self, value: Any, format_spec: str) -> str:
        for size in re.findall(r"\d+", format_spec):
            _limit(_number(size))
        text: str = _count(super().format_field(value, format_spec))  # type: ignore[misc]
        return text


class _Formatter(_CheckedFormat, SandboxedFormatter):
    pass


class _EscapeFormatter(_CheckedFormat, SandboxedEscapeFormatter):
    pass


def _check_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    if isinstance(text, str):
        _limit((len(text.splitlines()) + 1) * (len(width) if isinstance(width, str) else width))


def _check_round(_: Any, precision: Any = 0, *__: Any) -> None:
    _check_power(10, precision)


_FILTER_CHECKS: Mapping[str, Callable[..., None]] = {
    "batch": lambda _, linecount, *__, **___: _limit(linecount),
    "center": lambda _, width=80: _limit(width),
    "format": lambda text, /, *args, **kwargs: _check_percent(str(text), kwargs or args),
    "indent": _check_indent,
    "int": _check_int,
    "replace": lambda text, old, new, *_, **__: _check_replace(str(text), str(old), str(new)),
    "round": _check_round,
    "slice": lambda _, slices, *__, **___: _limit(slices),
}
"""By the name of a filter: a function that takes the filter's arguments and raises if its result may be too large."""


def _limited_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that checks its arguments first, and counts what it returns."""
    check = _FILTER_CHECKS.get(name)
    own_arguments = 1 if hasattr(function, "jinja_pass_arg") else 0  # the context or environment comes first

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        _spend(_STEP_SIZE)
        if check is not None:
            check(*args[own_arguments:], **kwargs)
        result = function(*args, **kwargs)
        if isinstance(result, GeneratorType):
            _spend(_GENERATOR_SIZE)
            return _counting(result)
        return _count(result)

    return limited


@pass_eval_context
def _join(eval_context: EvalContext, value: Any, d: str = "", attribute: Any = None) -> Any:
    """Join, and count while joining."""
    if attribute is not None:
        value = map(make_attrgetter(eval_context.environment, attribute), value)
    return do_join(eval_context, _counting(value, len(str(d))), d)


class _CodeGenerator(CodeGenerator):
    """Compile a template so that it counts steps of loops, text joined with `~`, and lists and mappings in brackets."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        line = node.lineno
        step = nodes.Call(nodes.EnvironmentAttribute("step", lineno=line), [], [], None, None, lineno=line)
        node.body.insert(0, nodes.ExprStmt(step, lineno=line))
        if node.test is not None:
            node.test = nodes.And(step, node.test, lineno=line)
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.join_values(context, ")
        self.visit(nodes.Tuple(node.nodes, "load", lineno=node.lineno), frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._counted(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._counted(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._counted(super().visit_Dict, node, frame)

    def _counted(self, visit: Callable[..., None], node: nodes.Node, frame: Frame) -> None:
        self.write("environment.count(")
        visit(node, frame)
        self.write(")")


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with limits of memory and time. Templates are compiled and rendered inside `limits()`."""

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    count = staticmethod(_count)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.globals["lipsum"]  # random words; one call can make any number of them
        for name in _REFUSED_FILTERS:
            del self.filters[name]
        self.filters["join"] = _join
        self.filters = {name: _limited_filter(name, function) for name, function in self.filters.items()}

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join the pieces of a macro's or block's text."""
        return "".join(_counting(pieces, 0))

    @staticmethod
    def step() -> bool:
        """Do nothing. Loops call this for each item, and `call` counts it."""
        return True

    @staticmethod
    def join_values(context: Context, values: tuple[Any, ...]) -> str:
        """Join the operands of `~`."""
        return markup_join(values) if context.eval_ctx.autoescape else str_join(values)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless the result would be too large."""
        if operator == "*":
            for repeated, times in ((left, right), (right, left)):
                if isinstance(repeated, str | bytes | list | tuple) and isinstance(times, int):
                    _limit(_size(repeated) * times)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        return _count(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function or method, unless the result would be too large."""
        _spend(_STEP_SIZE)
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str) and args:
            name = __obj.__name__
            if name in ("center", "ljust", "rjust", "zfill"):
                _limit(args[0])
            elif name == "replace":
                _check_replace(text, *args)
            elif name == "join":
                args = (_counting(args[0], len(text)), *args[1:])
        return _count(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether the template may use this attribute."""
        refused = attr in _REFUSED_METHODS and isinstance(obj, str | int)
        return not refused and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return a limited function for `str.format` and `str.format_map`, and None for other values."""
        if super().wrap_str_format(value) is None:
            return None
        text: str = value.__self__
        formatter = _EscapeFormatter(self, escape=text.escape) if isinstance(text, Markup) else _Formatter(self)

        def limited_format(*args: Any, **kwargs: Any) -> str:
            if value.__name__ == "format_map":
                (kwargs,), args = args, ()
            return type(text)(formatter.vformat(text, args, kwargs))

        return limited_format
