"""Steps with several rows are those of verifying drafts and of several texts, as a recording backend sees them."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_tt.bench.measure.verify_rows import ROWS, measure_rows
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend

SHAPES = [(1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (4, 1), (8, 1)]


@pytest.mark.parametrize("context", [5, 600])
def test_every_round_has_a_step_of_each_kind_after_the_context(context: int) -> None:
    backend = FakeBackend()
    costs = measure_rows(backend, VOCAB_SIZE, [context], threads=2, rounds=3)
    assert [(one.sequences, one.rows) for one in costs] == SHAPES
    prompts = max(ROWS) * -(-context // 512)
    steps = backend.batches[prompts:]
    assert all(len(batch.logit_rows) == 0 for batch in backend.batches[:prompts])
    assert sum(len(batch.token_ids) for batch in backend.batches[:prompts]) == max(ROWS) * context
    assert [(len(batch.positions), batch.starts[1]) for batch in steps] == SHAPES * 4  # the first round is not timed
    for batch in steps:
        assert (batch.positions == context).all()
        assert len(batch.logit_rows) == len(batch.token_ids)
        blocks = batch.block_tables.ravel()
        assert len(np.unique(blocks)) == len(blocks)  # each text reads its own keys and values
    filled = backend.cache.reshape(max(ROWS), -1)[:, : context + 1]
    assert (filled >= 0).all()
    assert len(np.unique(filled, axis=0)) == max(ROWS)


def test_multiples_are_those_of_one_row_after_the_same_context() -> None:
    costs = measure_rows(FakeBackend(), VOCAB_SIZE, [3, 40], threads=2, rounds=2)
    assert [one.context for one in costs] == [3] * len(SHAPES) + [40] * len(SHAPES)
    for context in (3, 40):
        one, *others = (cost for cost in costs if cost.context == context)
        assert one.multiple == 1
        assert all(cost.multiple == pytest.approx(cost.seconds / one.seconds) for cost in others)
        assert all(cost.seconds > 0 and cost.threads == 2 for cost in others)
