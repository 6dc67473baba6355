"""The stages of a model: each card of a chain has a share of the layers, and hands the rows on to the next card."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.decoder import Decoder
from bitnet_tt.backends.tt.model.lm_head import LMHead
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.handoff.op import Link
from bitnet_tt.backends.tt.planning.memory import hidden_landing_pages
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.shares import Share
from bitnet_tt.backends.tt.step.groups import Group
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import ModelWeights


@dataclass(frozen=True, slots=True)
class Stage:
    """The part of a model that one card has.

    Attributes:
        card: The card.
        decoder: Its layers.
    """

    card: Card
    decoder: Decoder


@dataclass(frozen=True, slots=True)
class Stages:
    """A model on a chain of cards. A single card is a chain too.

    Attributes:
        all: The stages, in the order of the layers.
        lm_head: The final norm and the lm_head, on the last card.
    """

    all: tuple[Stage, ...]
    lm_head: LMHead

    @classmethod
    def load(cls, weights: ModelWeights, cards: Sequence[Card], plan: Plan, shares: Sequence[Share]) -> Stages:
        """Put a model on the cards."""
        pages = hidden_landing_pages(plan)
        links = [Link.between(one, following, pages) for one, following in itertools.pairwise(cards)]
        stages = [
            Stage(card, Decoder(weights, card, plan, share, before=before, after=after))
            for card, share, before, after in zip(cards, shares, [None, *links], [*links, None], strict=True)
        ]
        return cls(tuple(stages), LMHead(weights, cards[-1], plan))

    def prefill(self, group: Group) -> Strips | ttnn.Tensor:
        """Run the decoder on a chunk of a prompt, and return its hidden states on the last card."""
        for stage in self.all:
            inputs = Inputs.upload(group, stage.card)
            hidden = stage.decoder(inputs, group.sequences, group.blocks, decode=False)
        return hidden

    def allocate(self, num_blocks: int) -> None:
        """Allocate the KV cache of every layer on its card, all zeros. An earlier cache is freed."""
        for stage in self.all:
            stage.card.traces.release()
            stage.decoder.allocate(num_blocks)
