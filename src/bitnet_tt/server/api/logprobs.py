"""Log-probabilities in the shapes of OpenAI's chats and completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.tokenizer import Tokenizer

_LEAST = -9999.0
"""Stands for the logarithm of 0, which JSON cannot write. OpenAI uses it too."""


def chat_logprobs(tokenizer: Tokenizer, entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return entries in the shape of a chat: each token with its text and bytes."""
    content = [
        _entry(tokenizer, one.token_id, one.logprob)
        | {"top_logprobs": [_entry(tokenizer, token_id, logprob) for token_id, logprob in one.top]}
        for one in entries
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(
    tokenizer: Tokenizer, token_ids: Sequence[int], entries: Sequence[TokenLogprob | None], offset: int
) -> tuple[dict[str, Any], int]:
    """Return entries in the shape of a completion, and the offset at which the next token's text begins.

    Args:
        tokenizer: The tokenizer.
        token_ids: The tokens.
        entries: An entry for each. None is a token without one: the first of a prompt.
        offset: Where the first token's text begins, in characters.
    """
    offsets = []
    for token_id in token_ids:
        offsets.append(offset)
        offset += 0 if token_id in tokenizer.special_ids else len(_text(tokenizer, token_id))
    result = {
        "tokens": [_name(tokenizer, token_id) for token_id in token_ids],
        "token_logprobs": [None if one is None else _finite(one.logprob) for one in entries],
        "top_logprobs": [None if one is None else _top(tokenizer, one) for one in entries],
        "text_offset": offsets,
    }
    return result, offset


def _top(tokenizer: Tokenizer, entry: TokenLogprob) -> dict[str, float]:
    """Return the most probable tokens by name, most probable first, and then the chosen token if it is none of them.

    Of equal names the first counts.
    """
    names: dict[str, float] = {}
    for token_id, logprob in (*entry.top, (entry.token_id, entry.logprob)):
        names.setdefault(_name(tokenizer, token_id), _finite(logprob))
    return names


def _entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token_id)
    return {"token": _text(tokenizer, token_id), "logprob": _finite(logprob), "bytes": list(data)}


def _text(tokenizer: Tokenizer, token_id: int) -> str:
    return tokenizer.token_bytes(token_id).decode("utf-8", "replace")


def _name(tokenizer: Tokenizer, token_id: int) -> str:
    """Return the text of a token; one that is a part of a character is `bytes:` and its bytes, as OpenAI writes it."""
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _finite(logprob: float) -> float:
    return max(logprob, _LEAST)
