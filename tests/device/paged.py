"""Feed sequences to a backend piece by piece, over a cache in which the blocks of a sequence do not lie together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend, Batch
from bitnet_tt.backends.options import Precision
from bitnet_tt.config import ModelConfig
from bitnet_tt.engine import BLOCK_SIZE
from bitnet_tt.weights import ModelWeights

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend

CONTEXT = 128


class PagedFeeder:
    """Allocates a cache and feeds n sequences to a backend. Sequence i has the blocks i, i + n, i + 2n, ...

    Attributes:
        logits: For each sequence the rows so far, float32 [vocab] each.
    """

    def __init__(self, backend: Backend, sequences: int, blocks_each: int) -> None:
        self._backend = backend
        self._tables = np.arange(sequences * blocks_each, dtype=np.int32).reshape(blocks_each, sequences).T.copy()
        self._lengths = [0] * sequences
        self.logits: list[list[NDArray[np.float32]]] = [[] for _ in range(sequences)]
        backend.allocate(sequences * blocks_each, BLOCK_SIZE)

    def batch(self, pieces: dict[int, Sequence[int]]) -> Batch:
        """Return the next tokens of some sequences, by index, as a batch that computes the logits of every row."""
        counts = [len(tokens) for tokens in pieces.values()]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        positions = [self._lengths[index] for index in pieces]
        for index, count in zip(pieces, counts, strict=True):
            self._lengths[index] += count
        return Batch(
            token_ids=np.concatenate([np.asarray(tokens, np.int32) for tokens in pieces.values()]),
            starts=starts,
            positions=np.asarray(positions, np.int32),
            block_tables=np.ascontiguousarray(self._tables[list(pieces)]),
            logit_rows=np.arange(starts[-1], dtype=np.int32),
        )

    def feed(self, pieces: dict[int, Sequence[int]]) -> None:
        """Compute the next tokens of some sequences, by index, in one batch. Keep the logits of every row."""
        batch = self.batch(pieces)
        logits = self._backend.forward(batch)
        for index, begin, end in zip(pieces, batch.starts, batch.starts[1:], strict=False):
            self.logits[index] += list(logits[begin:end].copy())


@contextmanager
def opened(
    config: ModelConfig, weights: ModelWeights, precision: Precision, context_length: int = CONTEXT
) -> Iterator[TTBackend]:
    """Open the device with a model on it, and close it at the end."""
    from bitnet_tt.backends.tt.backend import TTBackend

    backend = TTBackend(config, weights, context_length=context_length, precision=precision)
    try:
        yield backend
    finally:
        backend.close()
