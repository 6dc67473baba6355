"""Chat messages to one text through a checkpoint's own template, in a sandbox as Hugging Face transformers has it."""

from __future__ import annotations

import json
import re
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
_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]  # never part of text; Unicode keeps them for such marks


def check_messages(messages: Sequence[Message]) -> None:
    """Check that each message is a mapping of strings with a role and a content.

    Raises:
        RequestError: There is none, or one is not; the message says which.
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

    The sandbox keeps templates from Python's insides and from changing the messages; the size of repeated sequences
    and of the text is limited. A template can still take long.

    Raises:
        TokenizerError: The template is broken, or refuses these messages; the message is its own.
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
    except Exception as error:  # a template can raise whatever its expressions do
        raise TokenizerError(f"the chat template cannot render these messages: {error}") from error
    return "".join(pieces)


def disarm(messages: Sequence[Message], special_tokens: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """Break up special tokens that users wrote, so that after rendering only the template's own are whole.

    Returns:
        The messages, with a mark after the first character of each special token in them, and the mark, which is in no
        message; it is to be removed again once the template's special tokens are found.

    Raises:
        RequestError: Every possible mark is in the messages.
    """
    text = "".join(value for message in messages for value in message.values() if isinstance(value, str))
    mark = next((mark for mark in _NONCHARACTERS if mark not in text), None)
    if mark is None:
        raise RequestError("the messages hold every Unicode noncharacter from U+FDD0 to U+FDEF; remove them")
    if not special_tokens:
        return [dict(message) for message in messages], mark
    starts = re.compile(f"(?=(?:{'|'.join(map(re.escape, special_tokens))}))(.)", re.DOTALL)
    insert = rf"\g<1>{mark}"
    return [
        {key: starts.sub(insert, value) if isinstance(value, str) else value for key, value in message.items()}
        for message in messages
    ], mark


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    return _environment().from_string(template)


@cache
def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
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
