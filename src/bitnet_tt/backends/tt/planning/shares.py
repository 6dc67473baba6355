"""How the layers of a model are shared among the cards of a chain."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a model that one card has: neighbouring layers, and what belongs to an end of the chain.

    Attributes:
        place: The card's place in the chain, from 0.
        cards: Cards of the chain.
        layers: The layers.
    """

    place: int
    cards: int
    layers: range

    @property
    def is_first(self) -> bool:
        """Whether the card has the embedding. Otherwise it receives hidden states from the card before."""
        return self.place == 0

    @property
    def is_last(self) -> bool:
        """Whether the card has the final norm and the lm_head. Otherwise it sends hidden states to the next card."""
        return self.place == self.cards - 1


def whole(config: ModelConfig) -> Share:
    """Return the share of a card that has all of a model."""
    return Share(0, 1, range(config.num_hidden_layers))
