"""Render chat messages to one text with the checkpoint's own jinja2 template.

Templates come with downloaded models, so they run in a sandbox, with the variables and filters that Hugging Face
transformers gives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import RequestError, TokenizerError

if TYPE_CHECKING:
    import jinja2
    import jinja2.sandbox

Message = Mapping[str, str]

_MAX_CHARACTERS = 1 << 24
"""Limit of a rendered text, and of a sequence that a template makes by repetition."""


def check_messages(messages: Sequence[Message]) -> None:
    """Check that there is a message, and that each is a mapping whose role and content are strings.

    Raises:
        RequestError: They are not; the message gives the index.
    """
    if not messages:
        raise RequestError("a chat needs at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not all(
            isinstance(message.get(name), str) for name in ("role", "content")
        ):
            raise RequestError(f"message {index} must have a role and a content, both strings")


def render(template: str, messages: Sequence[Message], **variables: Any) -> str:
    """Render a template.

    The sandbox keeps the template from Python's internals and from changing the messages. It limits the size of
    repeated sequences and of the text. It does not limit the time that a template takes.

    Args:
        template: The jinja2 source.
        messages: The chat, first to last.
        variables: The template's other variables.

    Raises:
        TokenizerError: The template is broken, or it refuses these messages and says why.
    """
    pieces: list[str] = []
    size = 0
    try:
        for piece in _compile(template).generate(messages=[dict(message) for message in messages], **variables):
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_CHARACTERS:
                raise TokenizerError(f"the chat template wrote more than {_MAX_CHARACTERS} characters")
    except TokenizerError:
        raise
    except Exception as error:  # the expressions of a template can raise any exception
        raise TokenizerError(f"the chat template cannot render these messages: {error}") from error
    return "".join(pieces)


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    return _environment().from_string(template)


@cache
def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """Return jinja2's sandbox with the settings, functions and filters of Hugging Face transformers."""
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            """Multiply, unless that repeats a string or list to more than the limit."""
            for repeated, times in ((left, right), (right, left)):
                if hasattr(repeated, "__len__") and len(repeated) * times > _MAX_CHARACTERS:
                    raise SecurityError("a chat template may not make text or lists that long")
            return super().call_binop(context, operator, left, right)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def strftime_now(layout: str) -> str:
        return datetime.now().strftime(layout)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return environment
