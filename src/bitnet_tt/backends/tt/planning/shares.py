"""The share of a model that one of several cards has."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.backends.tt.planning.columns import Columns, all_columns, share_columns
from bitnet_tt.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a model that one card has: neighbouring layers, or some columns of every matrix.

    Attributes:
        place: The card's place, from 0.
        cards: All cards.
        layers: The layers.
        columns: The columns of their matrices. None if the card has all.
    """

    place: int
    cards: int
    layers: range
    columns: Columns | None = None

    @property
    def is_first(self) -> bool:
        """Whether the card has the embedding. Otherwise it receives hidden states from the card before."""
        return self.place == 0 or self.columns is not None

    @property
    def is_last(self) -> bool:
        """Whether the card has the final norm and the lm_head. Otherwise it sends hidden states to the next card."""
        return self.place == self.cards - 1 or self.columns is not None

    @property
    def steps(self) -> int:
        """Decode steps that can be under way at once: one for each card, unless each step needs all cards."""
        return self.cards if self.columns is None else 1


def whole(config: ModelConfig, columns: Columns | None = None) -> Share:
    """Return the share of a card that has all layers of a model, or columns of all."""
    columns = columns or all_columns(config)
    layers = range(config.num_hidden_layers)
    return Share(columns.place, columns.cards, layers, columns if columns.cards > 1 else None)


def share_matrices(config: ModelConfig, cards: int) -> tuple[Share, ...]:
    """Share the columns of every matrix of a model; see `share_columns` for errors."""
    return tuple(whole(config, columns) for columns in share_columns(config, cards))
