"""Render chat messages to one text with the checkpoint's own jinja2 template.

Templates come with downloaded models, so they run in a sandbox, with the variables and filters that Hugging Face
transformers gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import RequestError, TokenizerError

if TYPE_CHECKING:
    import jinja2

Message = Mapping[str, Any]


def check_messages(messages: Sequence[Message]) -> None:
    """Check that there is a message, and that each is a mapping whose role and content are strings.

    A message with `tool_calls` may have no content.

    Raises:
        RequestError: They are not; the message gives the index.
    """
    if not messages:
        raise RequestError("a chat needs at least one message")
    for index, message in enumerate(messages):
        texts = ["role", "content"]
        if isinstance(message, Mapping) and message.get("tool_calls") and message.get("content") is None:
            texts.remove("content")
        if not isinstance(message, Mapping) or not all(isinstance(message.get(name), str) for name in texts):
            raise RequestError(f"message {index} must have a role and a content, both strings")


def render(template: str, messages: Sequence[Message], variables: Mapping[str, Any] | None = None) -> str:
    """Render a template as Hugging Face transformers does.

    The template sees copies of the messages. Keys whose value is None are left out of them, as templates write "None"
    for such a value. What the assistant thought has three names in use: the template finds it under `reasoning_content`
    and `thinking`. The variables `tools` and `documents` are None and `add_generation_prompt` is False by default.

    The sandbox keeps the template from Python's internals and from changing the messages. It limits memory and time.

    Args:
        template: The jinja2 source.
        messages: The chat, first to last.
        variables: The template's other variables: None, text, numbers, and lists and mappings of these. The name
            `messages` is taken.

    Raises:
        RequestError: A message or variable holds something else.
        TokenizerError: The template is broken, or it refuses these messages and says why.
    """
    # Imported here because jinja2 takes as long to import as the rest of this room, and only chats need it.
    from bitnet_tt.tokenizer.template_limits import MAX_SIZE, limits

    try:
        seen = _plain({"tools": None, "documents": None, "add_generation_prompt": False} | dict(variables or {}))
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
    from bitnet_tt.tokenizer.template_environment import environment

    return environment().from_string(template)
