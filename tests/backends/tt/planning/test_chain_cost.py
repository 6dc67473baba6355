"""The plan of a chain: hand-offs cost time, steps follow each other, and memory is pooled."""

from __future__ import annotations

import itertools

import pytest

from bitnet_tt.backends.tt.planning.chain_cost import chain_cost, rows_together
from bitnet_tt.backends.tt.planning.cost import decode_cost
from bitnet_tt.backends.tt.planning.launches import decode_launches
from tests.backends.tt.planning.plans import PLAN_2B4T


def test_one_card_costs_what_a_step_costs() -> None:
    for batch in (1, 8, 32):
        alone, step = chain_cost(PLAN_2B4T, 1, batch, 1024), decode_cost(PLAN_2B4T, batch, 1024)
        assert (alone.seconds, alone.handoffs, alone.handoff_bytes) == (step.seconds, 0, 0)
        assert alone.launches == step.launches
        assert alone.copies_tokens_per_second == alone.tokens_per_second


def test_a_single_text_is_slower_by_the_handoffs() -> None:
    alone, *chains = (chain_cost(PLAN_2B4T, cards, 1, 1024) for cards in (1, 2, 4, 8))
    for chain in chains:
        assert chain.seconds == pytest.approx(alone.seconds + chain.handoff_seconds)
        assert chain.handoffs == 2 * (chain.cards - 1)
        # A row of 2560 floats in pages of a KiB, and the token ids of 32 rows, over each link.
        assert chain.handoff_bytes == (chain.cards - 1) * (2560 * 4 + 128)
        assert chain.launches == decode_launches(PLAN_2B4T, 1) + 5 * (chain.cards - 1)
        assert chain.range_seconds[0] < chain.seconds < chain.range_seconds[1]


def test_many_texts_are_faster_and_at_most_as_fast_as_copies() -> None:
    speeds = [chain_cost(PLAN_2B4T, cards, 32, 4096) for cards in (1, 2, 4, 8)]
    for fewer, more in itertools.pairwise(speeds):
        assert more.tokens_per_second > fewer.tokens_per_second
        assert more.copies_tokens_per_second is not None
        assert more.tokens_per_second < more.copies_tokens_per_second


def test_memory_is_pooled() -> None:
    one, two = (chain_cost(PLAN_2B4T, cards, 1, 4096) for cards in (1, 2))
    assert two.largest_batch >= 2 * one.largest_batch
    assert sum(two.cache_bytes) == sum(one.cache_bytes)


@pytest.mark.parametrize("cards", [1, 2, 4, 8])
def test_there_are_at_most_as_many_steps_as_cards_or_steps_are_full(cards: int) -> None:
    for sequences in range(1, 65):
        rows = rows_together(PLAN_2B4T, cards, sequences)
        assert rows == 32 or -(-sequences // rows) <= cards
