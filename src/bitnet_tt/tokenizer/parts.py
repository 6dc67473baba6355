"""What the files of a tokenizer give, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import tokenizers


class TokenizerParts(TypedDict):
    """The arguments of `Tokenizer`, which describes them."""

    engine: tokenizers.Tokenizer
    bos_token: str | None
    eos_tokens: Sequence[str]
    other_tokens: Mapping[str, str]
    chat_templates: Mapping[str, str]
