"""Lay out the tokens of a step for the backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import NEXT, Batch
from bitnet_tt.engine.request import Request


class Chunk(NamedTuple):
    """The next tokens of one request that a step computes.

    Attributes:
        request: The request. Its block table has room for these tokens.
        size: How many of its pending tokens to compute, at least 1.
        draft: Tokens that may come next, to verify in the same step; only with the last pending token.
    """

    request: Request
    size: int
    draft: Sequence[int] = ()

    @property
    def length(self) -> int:
        """Number of tokens that it adds to the batch."""
        return self.size + len(self.draft)

    @property
    def is_last(self) -> bool:
        """Whether no pending token is left after this chunk, so that the next token can be sampled."""
        return self.size == self.request.pending

    @property
    def rows(self) -> int:
        """Number of its last tokens whose logits are needed.

        A score needs them all, but none twice: after a preemption it computes tokens again whose logits it had.
        """
        if self.request.is_score:
            return max(0, self.request.computed + self.size - self.request.scored)
        return 1 + len(self.draft) if self.is_last else 0


def build_batch(chunks: Sequence[Chunk]) -> Batch:
    """Lay the tokens of all chunks out one after another.

    Args:
        chunks: At least one; each request at most once.
    """
    ends = np.cumsum([chunk.length for chunk in chunks])
    rows = [row for chunk, end in zip(chunks, ends.tolist(), strict=True) for row in range(end - chunk.rows, end)]
    return Batch(
        token_ids=np.concatenate(
            [
                np.asarray([*request.tokens[request.computed : request.computed + size], *draft], np.int32)
                for request, size, draft in chunks
            ]
        ),
        starts=np.concatenate([[0], ends]).astype(np.int32),
        positions=np.asarray([chunk.request.computed for chunk in chunks], np.int32),
        block_tables=_block_tables(chunks),
        logit_rows=np.asarray(rows, np.int32),
    )


def build_next_batch(chunks: Sequence[Chunk]) -> Batch:
    """Lay out the step after a running one: one more token of each request, which nobody knows yet.

    Args:
        chunks: The running step: one token of each request.
    """
    rows = np.arange(len(chunks) + 1, dtype=np.int32)
    return Batch(
        token_ids=np.full(len(chunks), NEXT, np.int32),
        starts=rows,
        positions=np.asarray([chunk.request.computed + 1 for chunk in chunks], np.int32),
        block_tables=_block_tables(chunks),
        logit_rows=rows[:-1],
    )


def _block_tables(chunks: Sequence[Chunk]) -> NDArray[np.int32]:
    tables = np.full((len(chunks), max(len(chunk.request.block_table) for chunk in chunks)), -1, dtype=np.int32)
    for row, chunk in enumerate(chunks):
        tables[row, : len(chunk.request.block_table)] = chunk.request.block_table
    return tables
