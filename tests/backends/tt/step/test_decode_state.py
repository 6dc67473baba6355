"""The host knows what a decode step leaves on the device: a batch that goes on needs no copy, any other batch does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.backends.base import NEXT, Batch
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.step.decode_state import DecodeState
from bitnet_tt.backends.tt.step.groups import Group, split
from tests.backends.tt.planning.plans import CONFIG_2B4T

CONTEXT = 256
PLAN = Plan(CONFIG_2B4T, SMALLEST_P150, "fast", CONTEXT)


def group_of(positions: list[int], tokens: list[int], blocks: int = CONTEXT // 32) -> Group:
    """Return the decode step of sequences with shuffled blocks, of which they hold no more than `blocks`."""
    count = len(positions)
    # Not block 0: an entry that is not in the table yet is 0 too, and would be right by chance.
    tables = 1 + np.random.default_rng(0).permutation(count * CONTEXT // 32).reshape(count, -1).astype(np.int32)
    tables[:, blocks:] = -1
    rows = np.arange(count, dtype=np.int32)
    starts = np.arange(count + 1, dtype=np.int32)
    (group,) = split(Batch(np.array(tokens, np.int32), starts, np.array(positions, np.int32), tables, rows), PLAN)
    return group


@given(st.lists(st.integers(0, CONTEXT - 2), min_size=1, max_size=32), st.booleans())
def test_a_batch_that_goes_on_is_in_place(positions: list[int], finds_tokens: bool) -> None:
    tokens = list(range(len(positions)))
    state = DecodeState(PLAN)
    group = group_of(positions, tokens)
    assert not state.is_at(group)
    state.place(group)
    state.place_tokens(group)
    assert state.is_at(group)
    assert state.has_tokens(group)
    state.advance(finds_tokens=finds_tokens)
    after = [position + 1 for position in positions]
    following, unknown = group_of(after, tokens), group_of(after, [NEXT] * len(tokens))
    # The table had only the blocks up to each position.
    new_block = any(position % 32 == 0 for position in after)
    assert state.is_at(following) == state.is_at(unknown) == (not new_block)
    assert state.has_tokens(following) == (not finds_tokens)
    if finds_tokens:
        assert state.has_tokens(unknown)
    else:
        with pytest.raises(ValueError, match="NEXT"):
            state.has_tokens(unknown)


def test_every_other_batch_is_not_in_place() -> None:
    state, group = DecodeState(PLAN), group_of([5, 40, 70], [1, 2, 3])
    state.place(group)
    state.place_tokens(group)
    assert not state.is_at(group_of([40, 5, 70], [2, 1, 3]))
    assert not state.is_at(group_of([5, 40], [1, 2]))
    assert not state.is_at(replace(group, table=group.table + 1))
    assert not state.is_at(replace(group, slots=group.slots + 1))
    assert not state.has_tokens(group_of([5, 40, 70], [1, 2, 4]))
    state.advance(finds_tokens=True)
    assert not state.is_at(group)
    with pytest.raises(ValueError, match="NEXT"):
        state.has_tokens(group_of([5, 40], [NEXT, NEXT]))


def test_a_sequence_at_the_end_of_the_context_has_no_slot() -> None:
    state = DecodeState(PLAN)
    state.place(group_of([CONTEXT - 1, 3], [1, 2]))
    state.advance(finds_tokens=False)
    assert not state.is_at(group_of([4], [2]))
    packed = state.packed()
    assert packed.shape == PLAN.packed_inputs
    assert packed[1, :3].tolist() == [CONTEXT, 4, 0]
    assert packed[2, 0] == packed[2, 2] == 0xFFFFFFFF
