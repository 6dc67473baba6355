"""Split a ragged batch into groups of the fixed shapes that the device computes, in NumPy.

A group is one step on the device: a decode step of many sequences, or a chunk of one prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import NEXT, Batch
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, PREFILL_ROWS, Plan
from bitnet_tt.errors import RequestError

SKIP = 0xFFFFFFFF
"""The slot of a row that is not written to the cache."""

_NEXT = NEXT & 0xFFFFFFFF  # as uint32


@dataclass(frozen=True, slots=True)
class Group:
    """One step on the device. Rows beyond the batch's own are padding.

    A decode step has one row for each sequence; a prefill step has the rows of one sequence. The number of rows is a
    multiple of 32, because the device would otherwise fill up the last tile before each reduction.

    Attributes:
        decode: Whether it is a decode step.
        token_ids: uint32 [1, rows]. Not used if the group follows.
        positions: uint32 [1, rows], the last position that each row attends to.
        slots: uint32 [1, rows], where each row's key and value are written: block * 32 + position in the block, or
            `SKIP`.
        table: uint32 [sequences, blocks], the cache blocks that attention reads.
        logit_rows: The rows of this group whose logits are computed.
        result_rows: For each of `logit_rows`, its index in the batch's logits.
    """

    decode: bool
    token_ids: NDArray[np.uint32]
    positions: NDArray[np.uint32]
    slots: NDArray[np.uint32]
    table: NDArray[np.uint32]
    logit_rows: NDArray[np.intp]
    result_rows: NDArray[np.intp]

    @property
    def follows(self) -> bool:
        """Whether its tokens are those that the step before finds."""
        return int(self.token_ids[0, 0]) == _NEXT

    @property
    def sequences(self) -> int:
        """Number of sequences that attention sees, padding included."""
        return len(self.table)

    @property
    def blocks(self) -> int:
        """Number of blocks that attention reads for each sequence, padding included."""
        return self.table.shape[1]


def split(batch: Batch, plan: Plan, decode_rows: int = DECODE_ROWS) -> Iterator[Group]:
    """Split a checked batch into groups. The result of a row does not depend on the split.

    Args:
        batch: The batch.
        plan: The shapes.
        decode_rows: Maximum sequences of a decode step.
    """
    counts = np.diff(batch.starts)
    single = np.flatnonzero(counts == 1)
    for first in range(0, len(single), decode_rows):
        yield _decode_group(batch, plan, single[first : first + decode_rows])
    for sequence in np.flatnonzero(counts > 1):
        for first in range(0, counts[sequence], PREFILL_ROWS):
            last = min(first + PREFILL_ROWS, int(counts[sequence]))
            yield _prefill_group(batch, plan, int(sequence), first, last)


def check(batch: Batch, plan: Plan, num_blocks: int, *, follows: bool = False) -> None:
    """Check a batch. The device checks nothing: it reads and writes at any address that an id or a block gives.

    Args:
        batch: The batch.
        plan: The model and its context length.
        num_blocks: Blocks of the allocated cache.
        follows: Whether all tokens are `NEXT`.

    Raises:
        RequestError: A token id is outside the vocabulary, or a sequence is longer than the context.
        ValueError: Anything else in the batch is inconsistent; the message names the field.
    """
    tokens, sequences = len(batch.token_ids), len(batch.starts) - 1
    counts = np.diff(batch.starts)
    if sequences < 1 or batch.starts[0] != 0 or batch.starts[-1] != tokens or (counts < 1).any():
        raise ValueError("starts must rise strictly from 0 to the number of tokens")
    if len(batch.positions) != sequences or len(batch.block_tables) != sequences:
        raise ValueError("positions and block_tables must have a row for each sequence")
    rows = batch.logit_rows
    if len(rows) and (rows[0] < 0 or rows[-1] >= tokens or (np.diff(rows) < 1).any()):
        raise ValueError("logit_rows must rise strictly and name rows of the batch")
    bad = (batch.token_ids < 0) | (batch.token_ids >= plan.config.vocab_size)
    if bad.any() and not follows:
        raise RequestError(
            f"token id {batch.token_ids[bad][0]} is outside the vocabulary (0 to {plan.config.vocab_size - 1})"
        )
    for position, count, table in zip(batch.positions, counts, batch.block_tables, strict=True):
        end = int(position) + int(count)
        if position < 0 or end > plan.context_length:
            raise RequestError(
                f"positions {position} to {end - 1} are outside the context of {plan.context_length} tokens"
            )
        blocks = table[: -(-end // TILE)]
        if len(blocks) * TILE < end or (blocks < 0).any() or (blocks >= num_blocks).any():
            raise ValueError(f"block_tables must name one of {num_blocks} blocks for every position below {end}")


def _decode_group(batch: Batch, plan: Plan, sequences: NDArray[np.intp]) -> Group:
    """Return the decode step of some sequences that have one new token each."""
    count, first = len(sequences), batch.starts[sequences]
    token_ids, positions = np.zeros((1, DECODE_ROWS), np.uint32), np.zeros(DECODE_ROWS, np.int64)
    token_ids[0, :count] = batch.token_ids[first]
    positions[:count] = batch.positions[sequences]
    slots = np.full((1, DECODE_ROWS), SKIP, np.uint32)
    slots[0, :count] = _slots(batch.block_tables[sequences], positions[:count, None])[:, 0]
    ends = positions[: plan.decode_bucket(count)] + 1
    table = np.zeros((len(ends), plan.context_blocks(int(ends.max()))), np.uint32)
    table[:count] = _table(batch.block_tables[sequences], ends[:count], table.shape[1])
    return _group(batch, True, token_ids, positions, slots, table, first)


def _prefill_group(batch: Batch, plan: Plan, sequence: int, first: int, last: int) -> Group:
    """Return the prefill step of the new tokens `first` to `last - 1` of one sequence."""
    count, rows = last - first, plan.prefill_bucket(last - first)
    start = int(batch.starts[sequence]) + first
    begin = int(batch.positions[sequence]) + first
    token_ids, slots = np.zeros((1, rows), np.uint32), np.full((1, rows), SKIP, np.uint32)
    token_ids[0, :count] = batch.token_ids[start : start + count]
    positions = np.minimum(begin + np.arange(rows), begin + count - 1)
    blocks = batch.block_tables[sequence : sequence + 1]
    slots[:, :count] = _slots(blocks, positions[None, :count])
    end = begin + count
    table = _table(blocks, np.array([end]), plan.context_blocks(end))
    return _group(batch, False, token_ids, positions, slots, table, np.arange(start, start + count))


def _group(
    batch: Batch,
    decode: bool,
    token_ids: NDArray[np.uint32],
    positions: NDArray[np.int64],
    slots: NDArray[np.uint32],
    table: NDArray[np.uint32],
    batch_rows: NDArray[np.integer[Any]],
) -> Group:
    """Return a group whose row i is row `batch_rows[i]` of the batch."""
    _, logit_rows, result_rows = np.intersect1d(batch_rows, batch.logit_rows, assume_unique=True, return_indices=True)
    return Group(decode, token_ids, positions.astype(np.uint32)[None], slots, table, logit_rows, result_rows)


def _slots(tables: NDArray[np.int32], positions: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the cache slots of positions [sequences, n], by block tables [sequences, blocks]."""
    blocks = np.take_along_axis(tables, positions // TILE, axis=1)
    return (blocks.astype(np.int64) * TILE + positions % TILE).astype(np.uint32)


def _table(tables: NDArray[np.int32], ends: NDArray[np.int64], length: int) -> NDArray[np.uint32]:
    """Return block tables of a given length. Entries beyond a sequence's end name block 0, which is masked."""
    width = min(length, tables.shape[1])
    result = np.zeros((len(tables), length), np.uint32)
    used = np.arange(width) < -(-ends[:, None] // TILE)
    result[:, :width] = np.where(used, tables[:, :width], 0)
    return result
