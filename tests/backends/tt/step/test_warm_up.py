"""The steps before the first request have every shape that a batch can become, and write nothing to the cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.base import Batch, LogitFilter, Noise
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.launches import MAX_TRACES
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.groups import SKIP, split
from bitnet_tt.backends.tt.step.warm_up import warm_up_steps
from tests.backends.tt.planning.plans import CONFIG_2B4T, PLAN_2B4T

MAX_SEQUENCES = 20
CONTEXT = 1000
PLAN = Plan(CONFIG_2B4T, SMALLEST_P150, "fast", CONTEXT)
STEPS = list(warm_up_steps(PLAN, MAX_SEQUENCES))
SHAPES = {
    (
        step.group.decode,
        step.group.token_ids.shape,
        step.group.table.shape,
        PLAN.head_output([step.limit], rows_stay=True),
    )
    for step in STEPS
}
FILTERS = st.builds(
    LogitFilter,
    count=st.none() | st.integers(1, 200),
    noise=st.none() | st.just(Noise(1, 2, 0, 0.7)),
)


@given(st.integers(1, MAX_SEQUENCES), st.integers(0, CONTEXT - 1), FILTERS)
def test_every_decode_step_has_a_shape_that_was_prepared(sequences: int, position: int, limit: LogitFilter) -> None:
    (group,) = split(batch_of(sequences, 1, position), PLAN)
    output = PLAN.head_output([limit] * sequences, rows_stay=True)
    assert (True, group.token_ids.shape, group.table.shape, output) in SHAPES


@given(st.integers(2, CONTEXT), st.data())
def test_every_prompt_has_shapes_that_were_prepared(tokens: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, CONTEXT - tokens))
    prepared = {(decode, ids, table) for decode, ids, table, _ in SHAPES}
    for group in split(batch_of(1, tokens, position), PLAN):
        assert (False, group.token_ids.shape, group.table.shape) in prepared


def test_nothing_is_written_to_the_cache_and_nothing_read_outside_of_it() -> None:
    for step in STEPS:
        assert (step.group.slots == SKIP).all()
        assert not step.group.table.any()
        assert step.group.positions.max() < CONTEXT


def test_the_traces_of_common_steps_are_kept() -> None:
    steps = warm_up_steps(replace(PLAN_2B4T, context_length=CONFIG_2B4T.max_position_embeddings), 32)
    assert 0 < sum(step.is_common and step.group.decode for step in steps) <= MAX_TRACES


def batch_of(sequences: int, tokens: int, position: int) -> Batch:
    blocks = -(-CONTEXT // 32)
    return Batch(
        token_ids=np.zeros(sequences * tokens, np.int32),
        starts=np.arange(sequences + 1, dtype=np.int32) * tokens,
        positions=np.full(sequences, position, np.int32),
        block_tables=np.zeros((sequences, blocks), np.int32),
        logit_rows=np.arange(sequences, dtype=np.int32) * tokens + tokens - 1,
    )
