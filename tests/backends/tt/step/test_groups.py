"""A ragged batch is split into steps that compute each token once and read only the blocks of its own sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.base import Batch
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.groups import SKIP, check, split
from bitnet_tt.errors import RequestError
from tests.backends.tt.planning.plans import CONFIG_2B4T

CONTEXT, BLOCKS_EACH = 640, 20
PLAN = Plan(CONFIG_2B4T, SMALLEST_P150, "fast", CONTEXT)


def make_batch(counts: list[int], positions: list[int], every_row: bool = True) -> Batch:
    """Make a batch whose token i has id i, with blocks in random order."""
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    tables = np.random.default_rng(0).permutation(len(counts) * BLOCKS_EACH).reshape(len(counts), BLOCKS_EACH)
    tokens = np.arange(starts[-1], dtype=np.int32)
    return Batch(
        token_ids=tokens,
        starts=starts,
        positions=np.asarray(positions, np.int32),
        block_tables=tables.astype(np.int32),
        logit_rows=tokens if every_row else starts[1:] - 1,
    )


sequences = st.lists(st.tuples(st.one_of(st.just(1), st.integers(1, 600)), st.integers(0, 40)), min_size=1, max_size=40)


@given(sequences, st.booleans())
def test_every_token_is_computed_once_and_reads_its_own_blocks(pairs: list[tuple[int, int]], every_row: bool) -> None:
    counts, positions = (list(column) for column in zip(*pairs, strict=True))
    batch = make_batch(counts, positions, every_row)
    check(batch, PLAN, len(pairs) * BLOCKS_EACH)
    written: dict[int, int] = {}
    answered: dict[int, int] = {}
    for group in split(batch, PLAN):
        rows = group.token_ids.shape[1]
        assert rows % 32 == 0
        assert group.slots.shape == (1, rows)
        for row in np.flatnonzero(group.slots[0] != SKIP):
            token, position = int(group.token_ids[0, row]), int(group.positions[0, row])
            owner = int(np.searchsorted(batch.starts, token, side="right")) - 1
            assert position == batch.positions[owner] + token - batch.starts[owner]
            block = batch.block_tables[owner, position // 32]
            assert group.slots[0, row] == block * 32 + position % 32
            assert token not in written
            written[token] = int(group.slots[0, row])
            table = group.table[row if group.decode else 0]
            seen = batch.block_tables[owner, : position // 32 + 1]
            np.testing.assert_array_equal(table[: len(seen)], seen)
        for row, target in zip(group.logit_rows, group.result_rows, strict=True):
            assert batch.logit_rows[target] == group.token_ids[0, row]
            answered[int(target)] = int(row)
    assert len(written) == sum(counts)
    assert len(set(written.values())) == len(written)
    assert sorted(answered) == list(range(len(batch.logit_rows)))


def test_an_inconsistent_batch_is_refused() -> None:
    good = make_batch([3, 1], [5, 0])
    blocks = 2 * BLOCKS_EACH
    check(good, PLAN, blocks)
    one = np.ones(1, np.int32)
    for bad, error in (
        (replace(good, token_ids=good.token_ids - 1), RequestError),
        (replace(good, token_ids=good.token_ids + PLAN.config.vocab_size), RequestError),
        (replace(good, positions=np.array([-1, 0], np.int32)), RequestError),
        (replace(good, positions=np.array([CONTEXT - 2, 0], np.int32)), RequestError),
        (replace(good, starts=np.array([0, 4, 4], np.int32)), ValueError),
        (replace(good, starts=np.array([0, 3], np.int32)), ValueError),
        (replace(good, positions=one), ValueError),
        (replace(good, block_tables=good.block_tables - blocks), ValueError),
        (replace(good, block_tables=good.block_tables + blocks), ValueError),
        (replace(good, block_tables=good.block_tables[:, :0]), ValueError),
        (replace(good, logit_rows=np.array([4], np.int32)), ValueError),
        (replace(good, logit_rows=np.array([1, 1], np.int32)), ValueError),
    ):
        with pytest.raises(error):
            check(bad, PLAN, blocks)
