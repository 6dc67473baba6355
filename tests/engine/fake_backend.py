"""A backend whose next token is a checksum of the whole text, read back through the block tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Batch, Candidates, Cut

VOCAB_SIZE = 97


def next_token(tokens: list[int]) -> int:
    """What the fake model says after these tokens."""
    checksum = 7
    for token in tokens:
        checksum = (checksum * 31 + token + 1) % 1_000_003
    return checksum % VOCAB_SIZE


def passing(logits: NDArray[np.float32], cut: Cut) -> Candidates:
    """The logits that a cut lets pass, and no others."""
    if cut.whole:
        return Candidates(logits)
    order = np.argsort(-logits, kind="stable")[: cut.count]
    token_ids = np.sort(order[logits[order] >= logits.max() - cut.margin])
    rest = 0.0
    if cut.temperature > 0:
        others = np.delete(logits, token_ids).astype(np.float64)
        rest = float(np.exp((others - logits.max()) / cut.temperature).sum())
    return Candidates(logits[token_ids], token_ids, rest, lambda: logits)


class FakeBackend:
    """Keeps token ids in its cache blocks, so that any mistake in paging or positions changes the text."""

    description = "fake"

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.cuts: list[list[Cut]] = []

    def allocate(self, num_blocks: int, block_size: int) -> None:
        self.cache = np.full((num_blocks, block_size), -1)

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        self.batches.append(batch)
        block_size = self.cache.shape[1]
        logits = {}
        for row, position in enumerate(batch.positions):
            table = batch.block_tables[row]
            for index in range(batch.starts[row], batch.starts[row + 1]):
                at = int(position + index - batch.starts[row])
                self.cache[table[at // block_size], at % block_size] = batch.token_ids[index]
                text = [int(self.cache[table[p // block_size], p % block_size]) for p in range(at + 1)]
                logits[index] = np.eye(VOCAB_SIZE, dtype=np.float32)[next_token(text)]
        return np.stack([logits[int(row)] for row in batch.logit_rows]) if len(batch.logit_rows) else np.empty((0, 0))

    def candidates(self, batch: Batch, cuts: Sequence[Cut]) -> list[Candidates]:
        self.cuts.append(list(cuts))
        return [passing(row, cut) for row, cut in zip(self.forward(batch), cuts, strict=True)]
