"""Lay out the tokens of a step for the backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bitnet_tt.backends.base import Batch
from bitnet_tt.engine.request import Request


class Chunk(NamedTuple):
    """The next tokens of one request that a step computes.

    Attributes:
        request: The request. Its block table has room for these tokens.
        size: How many of its pending tokens to compute, at least 1.
    """

    request: Request
    size: int

    @property
    def is_last(self) -> bool:
        """Whether no pending token is left after this chunk, so that the next token can be sampled."""
        return self.size == self.request.pending


def build_batch(chunks: Sequence[Chunk], *, every_row: bool = False) -> Batch:
    """Lay the tokens of all chunks out one after another.

    Args:
        chunks: At least one; each request at most once.
        every_row: Ask for the logits of every token. Otherwise only the last token of each last chunk has logits.
    """
    ends = np.cumsum([chunk.size for chunk in chunks])
    tables = np.full((len(chunks), max(len(chunk.request.block_table) for chunk in chunks)), -1, dtype=np.int32)
    for row, (request, _) in enumerate(chunks):
        tables[row, : len(request.block_table)] = request.block_table
    last_rows = [end - 1 for end, chunk in zip(ends, chunks, strict=True) if chunk.is_last]
    return Batch(
        token_ids=np.concatenate(
            [
                np.asarray(request.tokens[request.computed : request.computed + size], np.int32)
                for request, size in chunks
            ]
        ),
        starts=np.concatenate([[0], ends]).astype(np.int32),
        positions=np.asarray([chunk.request.computed for chunk in chunks], np.int32),
        block_tables=tables,
        logit_rows=np.arange(ends[-1], dtype=np.int32) if every_row else np.asarray(last_rows, np.int32),
    )
