"""A pipeline: neighbouring layers on neighbouring cards. And the check of a number of cards."""

from __future__ import annotations

from bitnet_tt.backends.options import MAX_CARDS
from bitnet_tt.backends.tt.planning.columns import share_columns
from bitnet_tt.backends.tt.planning.memory import cache_blocks
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.shares import Share
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError


def check_cards(config: ModelConfig, cards: int, *, tensor_parallel: bool = False) -> None:
    """Check a number of cards.

    Args:
        config: The model.
        cards: How many cards.
        tensor_parallel: Whether they share every matrix, instead of the layers.

    Raises:
        DeviceError: There are less than one, or more than a chain has, or more than the model has layers; or its
            matrices cannot be shared, see `share_columns`.
    """
    if tensor_parallel:
        share_columns(config, cards)
        return
    if not 1 <= cards <= MAX_CARDS:
        raise DeviceError(f"cards is {cards}; it must be from 1 to {MAX_CARDS}")
    if cards > config.num_hidden_layers:
        raise DeviceError(f"cards is {cards}, but the model has {config.num_hidden_layers} layers to share: use fewer")


def share_layers(plan: Plan, cards: int) -> tuple[Share, ...]:
    """Share the layers of a model so that the cache can be as large as possible.

    Each card keeps keys and values of its own layers, and all have the same number of blocks. So the card with the
    least room for blocks limits them. The first card also has the embedding, the last one the lm_head.

    Args:
        plan: The model and the cards.
        cards: How many cards.
    """
    counts = [1] * cards
    for _ in range(plan.config.num_hidden_layers - cards):
        # One more layer for the card that then has room for most blocks.
        counts[max(range(cards), key=lambda place: _blocks(plan, place, cards, counts[place] + 1))] += 1
    starts = [sum(counts[:place]) for place in range(cards)]
    return tuple(Share(place, cards, range(starts[place], starts[place] + counts[place])) for place in range(cards))


def _blocks(plan: Plan, place: int, cards: int, layers: int) -> int:
    return cache_blocks(plan, Share(place, cards, range(layers)))
