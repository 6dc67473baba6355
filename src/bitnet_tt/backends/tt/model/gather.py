"""Two cards that share every matrix: make the rows whole of which each has computed some columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.gather.op import Pair, gather_pages, gather_strips, gather_tiles
from bitnet_tt.backends.tt.planning.columns import share_columns
from bitnet_tt.backends.tt.planning.memory import column_landing_pages
from bitnet_tt.backends.tt.planning.plan import Plan


class Gather:
    """Brings the other card's columns to a card. Both cards call the same methods in the same order."""

    def __init__(self, pair: Pair, plan: Plan) -> None:
        """Use the links of a pair of cards.

        Args:
            pair: The links, as the card sees them.
            plan: The shapes of the card.
        """
        self._pair, self._own, self._config = pair, plan.own, plan.config
        shares = share_columns(plan.config)
        first, second = (replace(plan, columns=columns).vocabulary_parts[0] for columns in shares)
        self._parts = (range(first), range(first, first + second))[plan.own.place]
        self._all_parts = first + second

    @classmethod
    def between(cls, cards: Sequence[Card], plans: Sequence[Plan]) -> list[Self]:
        """Connect two cards."""
        pages = [column_landing_pages(plan, plan.own.place) for plan in plans]
        return [cls(pair, plan) for pair, plan in zip(Pair.between(cards, pages), plans, strict=True)]

    def attended(self, own: Strips) -> Strips:
        """Make the result of attention whole."""
        return gather_strips(self._pair, own, self._own.queries, self._config.query_features)

    def hidden(self, own: Strips) -> Strips:
        """Make the residual stream of few rows whole."""
        return gather_strips(self._pair, own, self._own.hidden, self._config.hidden_size)

    def gated(self, own: Strips) -> Strips:
        """Make activation(gate) * up of few rows whole."""
        return gather_strips(self._pair, own, self._own.inner, self._config.intermediate_size)

    def gated_tiles(self, own: ttnn.Tensor) -> ttnn.Tensor:
        """Make activation(gate) * up whole."""
        return gather_tiles(self._pair, own, self._own.inner, self._config.intermediate_size)

    def product(self, own: IntegerProduct) -> IntegerProduct:
        """Make a product whole that is added to the residual stream."""
        return replace(own, sums=gather_tiles(self._pair, own.sums, self._own.hidden, self._config.hidden_size))

    def top(self, own: ttnn.Tensor) -> ttnn.Tensor:
        """Return the largest logits of the vocabulary parts of both cards, see `ops.lm_head`."""
        return gather_pages(self._pair, own, self._parts, self._all_parts)
