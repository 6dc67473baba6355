"""Constraint: the interface of grammar engines, which say what tokens may come next in a text."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Constraint(Protocol):
    """The state of a grammar in one text. One request owns it. Its calls come from two threads, but never overlap.

    For each token of the text, the engine calls `mask` during the step that computes its logits, and `accept` once it
    is picked. If a step fails, the engine calls `mask` again without `accept` between. For a token that is forced, it
    may call `forced` and `accept` in place of `mask` and `accept`.
    """

    def mask(self) -> NDArray[np.uint32]:
        """Return which tokens may come next, as `LogitFilter.allowed` has them; at least one.

        A text that may end here allows an end-of-text token. The caller does not change the array, and reads it until
        the next call of `accept`.
        """

    def forced(self) -> int | None:
        """Return the only token that may come next. None if there are several, or if finding out takes a mask."""

    def accept(self, token_id: int) -> None:
        """Take the next token of the text; `mask` allowed it."""
