"""What requests that generate nothing collect: the scores of a text, or its embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.sampling import TokenLogprob, log_probabilities


class Scorer:
    """Collects the log-probabilities of the tokens of a text from the logits before them.

    Attributes:
        logprobs: One for each token after the first, in order.
    """

    def __init__(self, token_ids: Sequence[int], top: int) -> None:
        self.logprobs: list[TokenLogprob] = []
        self._token_ids = token_ids
        self._top = top

    def add(self, first: int, rows: Sequence[NDArray[np.float32]]) -> None:
        """Take the logits of some positions, see `OnLogits`."""
        for position, row in enumerate(rows, first):
            self.logprobs.append(log_probabilities(row, self._token_ids[position + 1], self._top))


class Embedder:
    """Takes the hidden state of one text, see `OnHidden`.

    Attributes:
        vector: The embedding, float32 [hidden] of length 1. All zeros if the hidden state is.
    """

    def __init__(self) -> None:
        self.vector = np.empty(0, np.float32)

    def set(self, hidden: NDArray[np.float32]) -> None:
        """Scale a hidden state to length 1.

        The squares are exact in float64, and their sum is rounded once, so that all machines get the same bits.
        """
        values = hidden.astype(np.float64)
        length = math.sqrt(math.fsum((values * values).tolist()))
        self.vector = (values / (length or 1.0)).astype(np.float32)
