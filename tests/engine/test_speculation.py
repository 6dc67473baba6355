"""Drafts come from the text itself, and are as long as pays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.engine.speculation import LENGTHS, PromptLookup, Speculation, StepCosts, best_length


def naive_draft(tokens: list[int], count: int) -> list[int]:
    """Return what followed the last place with the longest equal end, of 4 to 2 tokens."""
    for length in (4, 3, 2):
        for end in range(len(tokens) - 1, length - 1, -1):
            if tokens[end - length : end] == tokens[len(tokens) - length :]:
                return tokens[end : end + count]
    return []


@given(
    prompt=st.lists(st.integers(0, 3), max_size=30),
    more=st.lists(st.integers(0, 3), max_size=10),
    count=st.integers(1, 7),
)
def test_a_draft_is_what_followed_at_the_last_equal_place(prompt: list[int], more: list[int], count: int) -> None:
    lookup = PromptLookup(prompt)
    for token_id in more:
        lookup.extend([token_id])
    assert lookup.draft(count) == naive_draft(prompt + more, count)


def test_texts_without_repetition_give_no_draft() -> None:
    assert PromptLookup(range(100)).draft(7) == []
    assert PromptLookup([1]).draft(7) == PromptLookup().draft(7) == []


def test_drafts_are_longer_where_steps_cost_little_and_tokens_are_accepted() -> None:
    flat, steep = StepCosts(), StepCosts()
    for rows in (1, 2, 4, 8):
        flat.record(rows, 1.0)
        steep.record(rows, float(rows))
    assert best_length(0.9, 1, flat) == max(LENGTHS)
    assert best_length(0.9, 1, steep) == 0
    assert best_length(0.0, 1, StepCosts()) == 0
    assert best_length(0.95, 1, StepCosts()) > 0


def test_unknown_times_follow_from_known_ones() -> None:
    costs = StepCosts()
    costs.record(1, 2.0)
    assert costs.seconds(1) == 2.0
    assert costs.seconds(2) == pytest.approx(3.2)
    assert costs.seconds(3) == costs.seconds(4)
    assert costs.seconds(16) == pytest.approx(2 * costs.seconds(8))


def test_rejected_drafts_end_drafting_and_it_is_tried_again() -> None:
    speculation = Speculation(PromptLookup([1, 2, 3, 1, 2]))
    costs = StepCosts()
    while speculation.draft(1, costs, limit=7):
        speculation.record(1, 0)
    assert speculation.acceptance_rate < 0.6
    tries = [speculation.draft(1, costs, limit=7) for _ in range(200)]
    assert 1 <= sum(map(bool, tries)) <= 4
    for _ in range(60):
        speculation.record(1, 1)
    assert speculation.draft(1, costs, limit=7)[:1] == [3]


def test_the_limit_holds() -> None:
    speculation = Speculation(PromptLookup([1, 2, 3, 4, 5, 6, 1, 2]), acceptance_rate=1.0)
    assert speculation.draft(1, StepCosts(), limit=2) == [3, 4]
    assert speculation.draft(1, StepCosts(), limit=0) == []


def test_only_tokens_up_to_the_first_rejected_one_count() -> None:
    speculation = Speculation(PromptLookup(), acceptance_rate=0.5)
    speculation.record(7, 0)
    assert speculation.acceptance_rate == pytest.approx(0.45)
