"""Attention is cut into parts and groups that cover all positions and heads, and leave work for every core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.attention import (
    PART_BLOCKS,
    combine_instructions,
    heads_together,
    own_instructions,
    own_transfers,
    part_instructions,
    parts_of,
    rows_together,
)
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150, TILE
from tests.backends.tt.planning.plans import CONFIG_2B4T


def test_parts_cover_all_positions() -> None:
    assert [parts_of(positions) for positions in (1, 64, 65, 4096)] == [1, 1, 2, 64]
    assert PART_BLOCKS * TILE == 64


@pytest.mark.parametrize(
    ("query_heads", "kv_heads", "heads"), [(20, 5, 4), (32, 4, 4), (12, 4, 3), (7, 1, 1), (8, 8, 1)]
)
def test_heads_of_a_group_are_computed_together(query_heads: int, kv_heads: int, heads: int) -> None:
    config = replace(CONFIG_2B4T, num_attention_heads=query_heads, num_key_value_heads=kv_heads)
    assert heads_together(config) == heads


def test_rows_of_a_prompt_share_keys_unless_cores_would_have_no_work() -> None:
    assert [rows_together(rows, 5 * rows, SMALLEST_P150) for rows in (1, 32, 64, 128, 512)] == [1, 1, 2, 4, 8]


def test_a_part_of_2b4t_takes_what_its_docstring_says() -> None:
    assert part_instructions(CONFIG_2B4T) == 3136 + 2944 + 1740 + 1540
    assert own_instructions(CONFIG_2B4T) == 123 + 94
    assert combine_instructions(CONFIG_2B4T) == 109


def test_rows_that_share_strips_are_read_in_more_pieces() -> None:
    # Beside these, an instrumented simulator counts the positions and the block table.
    assert [own_transfers(CONFIG_2B4T, lines) for lines in (1, 8)] == [49, 93]
