"""Layers are shared so that the cache can be as large as possible, and memory on all cards together is what counts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.memory import cache_blocks, check_dram, kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.pipeline import check_cards, share_layers
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.shares import Share, whole
from bitnet_tt.errors import DeviceError
from tests.backends.tt.planning.plans import CONFIG_2B4T, PLAN_2B4T

SMALL = replace(PLAN_2B4T, config=replace(CONFIG_2B4T, num_hidden_layers=9))


@pytest.mark.parametrize("cards", range(1, 9))
def test_every_layer_is_on_one_card(cards: int) -> None:
    shares = share_layers(PLAN_2B4T, cards)
    assert [index for share in shares for index in share.layers] == list(range(30))
    assert [(share.is_first, share.is_last) for share in shares] == [(i == 0, i == cards - 1) for i in range(cards)]


@pytest.mark.parametrize("cards", [2, 3, 4])
@pytest.mark.parametrize("dram_bytes", [1 << 30, 2 << 30, SMALLEST_P150.dram_bytes])
def test_no_other_split_has_room_for_more_blocks(cards: int, dram_bytes: int) -> None:
    plan = replace(SMALL, grid=replace(SMALLEST_P150, dram_bytes=dram_bytes))

    def room(counts: tuple[int, ...]) -> int:
        return min(cache_blocks(plan, Share(place, cards, range(count))) for place, count in enumerate(counts))

    splits = [counts for counts in itertools.product(range(1, 10), repeat=cards) if sum(counts) == 9]
    ours = room(tuple(len(share.layers) for share in share_layers(plan, cards)))
    assert ours == max(map(room, splits))


def test_cards_together_hold_the_model_once() -> None:
    shares = share_layers(PLAN_2B4T, 4)
    assert sum(kv_cache_bytes(PLAN_2B4T, 64, share) for share in shares) == kv_cache_bytes(PLAN_2B4T, 64)
    together = sum(weight_bytes(PLAN_2B4T, share) for share in shares)
    alone = weight_bytes(PLAN_2B4T)
    assert weight_bytes(PLAN_2B4T, whole(CONFIG_2B4T)) == alone
    assert alone < together < 1.07 * alone  # tables, inputs and landings on all, logits on the last


def test_several_cards_hold_what_one_does_not() -> None:
    plan = replace(PLAN_2B4T, grid=replace(SMALLEST_P150, dram_bytes=1 << 30))
    with pytest.raises(DeviceError, match=r"the card has 1\.00 GiB: use a smaller model, more cards"):
        check_dram(plan, 128)
    check_dram(plan, 128, share_layers(plan, 4))
    with pytest.raises(DeviceError, match=r"beside the weights card \d has .* or use more cards"):
        check_dram(plan, 4096, share_layers(plan, 4))


@pytest.mark.parametrize(("cards", "error"), [(0, "from 1 to 8"), (9, "from 1 to 8"), (8, "has 5 layers to share")])
def test_impossible_numbers_of_cards_are_refused(cards: int, error: str) -> None:
    with pytest.raises(DeviceError, match=error):
        check_cards(replace(CONFIG_2B4T, num_hidden_layers=5), cards)


def test_small_models_have_room_for_rows_of_every_step() -> None:
    """A strip is wider than the hidden state of a tiny model: the room for arriving rows counts it."""
    tiny = replace(CONFIG_2B4T, hidden_size=32, num_hidden_layers=2)
    plan = Plan(tiny, SMALLEST_P150, "fast", 32)
    shares = share_layers(plan, 2)
    assert weight_bytes(plan, shares[1]) > 8 * 8192  # a page of 8 rows in each bank
