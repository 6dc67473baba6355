"""What users may give to a model, a text, token ids or a chat, and the checks that it is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np

from bitnet_tt.errors import RequestError

type Prompt = str | Sequence[int]
type Messages = Sequence[Mapping[str, str]]


def is_one_prompt(prompt: object) -> bool:
    """Return whether this is a text or token ids, not a list of prompts. An empty list is a list of no prompts."""
    if isinstance(prompt, str):
        return True
    items = _items(prompt, "a str, a list of token ids, or a list of either")
    return len(items) > 0 and isinstance(items[0], Real)


def as_token_ids(prompt: object, accepted: str) -> list[int]:
    """Return token ids as integers of Python.

    Raises:
        RequestError: This is no list or array of integers; the message names the type.
    """
    items = _items(prompt, accepted)
    for item in items:
        if not isinstance(item, Integral) or isinstance(item, bool):
            raise RequestError(f"token ids are integers, not {type(item).__name__}; for several prompts, call generate")
    return [int(item) for item in items]


def check_messages(messages: object) -> None:
    """Refuse what is no list of messages.

    Raises:
        RequestError: It is not; the message names the type.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise RequestError(f"a chat is a list of messages, not {type(messages).__name__}")
    for message in messages:
        if not isinstance(message, Mapping):
            raise RequestError(f"a message is a dict with role and content, not {type(message).__name__}")


def _items(prompt: object, accepted: str) -> Sequence[Any]:
    """Return a list, tuple, other sequence or array itself. Bytes are none: nobody means them as token ids."""
    array = isinstance(prompt, np.ndarray) and prompt.ndim > 0
    if not array and (not isinstance(prompt, Sequence) or isinstance(prompt, str | bytes | bytearray | memoryview)):
        hint = "; decode it first" if isinstance(prompt, bytes | bytearray | memoryview) else ""
        raise RequestError(f"a prompt is {accepted}, not {type(prompt).__name__}{hint}")
    return cast(Sequence[Any], prompt)
