"""Render chat messages to one text with the checkpoint's own jinja2 template.

Templates come with downloaded models, so they run in a sandbox, with the variables and filters that Hugging Face
transformers gives them.

Messages come from users, who may write control tokens such as `<|eot_id|>` in them. `break_special_tokens` changes such
text before rendering, so that the rendered text shows which control tokens the template wrote and which a user wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2

from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer.template_environment import environment
from bitnet_tt.tokenizer.template_limits import MAX_SIZE, limits

Message = Mapping[str, str]

_MARKERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Unicode noncharacters: reserved for a program's internal use, never part of ordinary text."""


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
    """Render a template as Hugging Face transformers does.

    The template sees copies of the messages. Keys whose value is None are left out of them, as templates write "None"
    for such a value. What the assistant thought has three names in use: the template finds it under `reasoning_content`
    and `thinking`. The variables `tools` and `documents` are None and `add_generation_prompt` is False by default.

    The sandbox keeps the template from Python's internals and from changing the messages. It limits memory and time.

    Args:
        template: The jinja2 source.
        messages: The chat, first to last.
        variables: The template's other variables: None, text, numbers, and lists and mappings of these.

    Raises:
        RequestError: A message or variable holds something else.
        TokenizerError: The template is broken, or it refuses these messages and says why.
    """
    try:
        seen = _plain({"tools": None, "documents": None, "add_generation_prompt": False} | variables)
        seen["messages"] = [_for_template(_plain(message)) for message in messages]
    except RecursionError as error:
        raise RequestError("the messages are nested too deeply for a chat template") from error
    pieces: list[str] = []
    size = 0
    with limits():
        try:
            compiled = _compile(template)
        except Exception as error:
            raise TokenizerError(f"the chat template is not valid jinja2: {_reason(error)}") from error
        try:
            for piece in compiled.generate(seen):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_SIZE:
                    raise TokenizerError(f"the chat template wrote more than {MAX_SIZE} characters")
        except TokenizerError:
            raise
        except Exception as error:  # the expressions of a template can raise any exception
            raise TokenizerError(f"the chat template cannot render these messages: {_reason(error)}") from error
    return "".join(pieces)


def break_special_tokens(
    messages: Sequence[Message], special_tokens: Sequence[str]
) -> tuple[list[dict[str, str]], str]:
    """Insert a marker into every special token that a user wrote, so that none of them is intact after rendering.

    For example `<|eot_id|>` in a message becomes `<` + marker + `|eot_id|>`. The special tokens that are intact in the
    rendered text were then written by the template. The caller splits the text at them and removes the marker from the
    parts between.

    Args:
        messages: The chat, first to last.
        special_tokens: The control tokens as text.

    Returns:
        The changed messages, and the marker: one character that the original messages do not contain.

    Raises:
        RequestError: The messages contain every possible marker.
    """
    text = "".join(value for message in messages for value in message.values() if isinstance(value, str))
    marker = next((marker for marker in _MARKERS if marker not in text), None)
    if marker is None:
        raise RequestError("the messages hold every Unicode noncharacter from U+FDD0 to U+FDEF; remove them")
    if not special_tokens:
        return [dict(message) for message in messages], marker
    # The lookahead consumes only the first character, so that special tokens that overlap are found too.
    first_character = re.compile(f"(?=(?:{'|'.join(map(re.escape, special_tokens))}))(.)", re.DOTALL)
    with_marker = rf"\g<1>{marker}"
    return [
        {
            key: first_character.sub(with_marker, value) if isinstance(value, str) else value
            for key, value in message.items()
        }
        for message in messages
    ], marker


def _for_template(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without None, and with what the assistant thought under the names that templates read."""
    message = {name: value for name, value in message.items() if value is not None}
    thought = next((message[name] for name in ("reasoning_content", "thinking", "reasoning") if name in message), None)
    return message if thought is None else {"thinking": thought, **message, "reasoning_content": thought}


def _plain(value: Any) -> Any:
    """Return a copy that holds only Python's own types: a method of another type could do anything."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):  # an enum, for example
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    raise RequestError(
        f"a chat template takes text, numbers, and lists and mappings of these, not a {type(value).__name__}"
    )


def _reason(error: Exception) -> str:
    """Return an exception's message and, for an error of syntax, the line of the template."""
    line = getattr(error, "lineno", None)
    return (str(error) or type(error).__name__) + (f" (line {line})" if line else "")


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    return environment().from_string(template)
