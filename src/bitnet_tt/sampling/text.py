"""Text: the tokens so far, and which of them the penalties count."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Text:
    """A text so far, while its next token is picked. The tokens must not change as long as the object is used.

    Args:
        tokens: Prompt and generated tokens.
        prompt_length: How many of them are the prompt.
    """

    def __init__(self, tokens: Sequence[int], prompt_length: int) -> None:
        self.tokens = tokens
        self.prompt_length = prompt_length

    @property
    def position(self) -> int:
        """The position of the next token."""
        return len(self.tokens)

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """The different tokens of the text, rising."""
        return np.unique(np.asarray(self.tokens, np.int64))

    @cached_property
    def generated(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The different generated tokens, rising, and how often each was generated."""
        token_ids, counts = np.unique(np.asarray(self.tokens[self.prompt_length :], np.int64), return_counts=True)
        return token_ids, counts.astype(np.float32)
