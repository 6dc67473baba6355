"""A shared block holds the tokens that were asked for, and the contents that are free longest are forgotten first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.engine.kv_cache import BlockPool

SIZE = 2


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), min_size=2, max_size=8)), max_size=40))
def test_shared_blocks_always_hold_the_tokens_asked_for(operations: list[tuple[bool, list[int]]]) -> None:
    """The test tracks the contents itself: a shared block must hold what was written to it."""
    pool = BlockPool(num_blocks=8, block_size=SIZE)
    written: dict[int, list[int]] = {}
    held: list[list[int]] = []
    for keep, tokens in operations:
        table = pool.share_prefix(tokens)
        assert [written[block] for block in table] == [tokens[: (i + 1) * SIZE] for i in range(len(table))]
        shared = len(table)
        while len(table) < len(tokens) // SIZE:
            if not pool.available:
                with pytest.raises(IndexError):
                    pool.take()
                break
            block = pool.take()
            table.append(block)
            written[block] = tokens[: len(table) * SIZE]
        pool.remember(tokens, table, shared * SIZE, len(table) * SIZE)
        held.append(table)
        if not keep:
            pool.release(held.pop(0))
    for table in held:
        pool.release(table)
    assert pool.available == 8


def test_the_content_that_is_free_longest_is_forgotten_first() -> None:
    pool = BlockPool(num_blocks=2, block_size=SIZE)
    for tokens in ([1, 1], [2, 2]):
        block = pool.take()
        pool.remember(tokens, [block], 0, SIZE)
        pool.release([block])
    pool.take()
    assert pool.share_prefix([1, 1]) == []
    assert len(pool.share_prefix([2, 2])) == 1


def test_a_text_finds_only_blocks_of_its_cache_key() -> None:
    pool = BlockPool(num_blocks=4, block_size=SIZE)
    tokens = [1, 1, 2, 2]
    tables = {}
    for key in ("", "a"):
        tables[key] = [pool.take(), pool.take()]
        pool.remember(tokens, tables[key], 0, 4, key)
    assert {key: pool.share_prefix(tokens, key) for key in ("", "a", "b")} == {**tables, "b": []}
