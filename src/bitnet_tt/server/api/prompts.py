"""Prompts as OpenAI's completions and embeddings take them: a text, token ids, or a list of either."""

from __future__ import annotations

from typing import Any

from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.errors import invalid

PROMPTS = str | list[str] | list[int] | list[list[int]]


def check_prompts(prompt: Any) -> Any:
    """Check the type of prompts, as pydantic would report one error for each member of the union."""
    if isinstance(prompt, str) or _is_list_of(prompt, str) or _is_list_of(prompt, int):
        return prompt
    if isinstance(prompt, list) and prompt and all(_is_list_of(one, int) for one in prompt):
        return prompt
    raise ValueError("must be a text, token ids, or a list of texts or of lists of token ids, none of them empty")


async def encode_prompts(
    context: ServerContext, prompt: PROMPTS, param: str, limit: int, **options: Any
) -> list[list[int]]:
    """Return the ids of each prompt.

    Args:
        context: The server.
        prompt: The prompts, checked by `check_prompts`.
        param: Their field, for errors.
        limit: Their maximum number.
        **options: Options of `ServerContext.encode`.

    Raises:
        ApiError: There are too many, or one cannot be encoded.
    """
    if isinstance(prompt, str):
        return [await context.encode(prompt, param, **options)]
    if isinstance(prompt[0], int):
        return [[int(one) for one in prompt]]
    if len(prompt) > limit:
        raise invalid(f"{param} has {len(prompt)} texts; this server takes {limit}", param)
    return [await context.encode(one, param, **options) if isinstance(one, str) else one for one in prompt]


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(one) is kind for one in value)
