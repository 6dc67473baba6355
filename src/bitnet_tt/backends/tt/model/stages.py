"""The stages of a model: each card has a share of it. One card has all, and is a stage too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.decoder import Decoder
from bitnet_tt.backends.tt.model.gather import Gather
from bitnet_tt.backends.tt.model.lm_head import HeadResult, LMHead
from bitnet_tt.backends.tt.model.turns import Part, run, run_in_turns
from bitnet_tt.backends.tt.ops.common.link import Link
from bitnet_tt.backends.tt.planning.memory import hidden_landing_pages
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, HeadOutput, Plan
from bitnet_tt.backends.tt.planning.shares import Share
from bitnet_tt.backends.tt.step.groups import Group
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import ModelWeights


@dataclass(frozen=True, slots=True)
class Stage:
    """The part of a model that one card has.

    Attributes:
        card: The card.
        share: What it has.
        decoder: Its layers.
        lm_head: The final norm and the lm_head, or its part of the vocabulary. None if other cards have it.
    """

    card: Card
    share: Share
    decoder: Decoder
    lm_head: LMHead | None


@dataclass(frozen=True, slots=True)
class Stages:
    """A model on its cards.

    In a chain, each card has some layers and hands the rows on to the next one. If the cards share every matrix, all
    run every layer, and each result is exchanged.

    Attributes:
        all: The stages, in the order of the cards.
        plan: The shapes.
    """

    all: tuple[Stage, ...]
    plan: Plan

    @classmethod
    def chain(cls, weights: ModelWeights, cards: Sequence[Card], plan: Plan, shares: Sequence[Share]) -> Stages:
        """Put a model on a chain of cards."""
        pages = hidden_landing_pages(plan)
        links = [Link.between(one, following, pages) for one, following in itertools.pairwise(cards)]
        return cls(
            tuple(
                Stage(
                    card,
                    share,
                    Decoder(weights, card, plan, share, before=before, after=after),
                    LMHead(weights, card, plan) if share.is_last else None,
                )
                for card, share, before, after in zip(cards, shares, [None, *links], [*links, None], strict=True)
            ),
            plan,
        )

    @classmethod
    def tensor_parallel(
        cls, weights: ModelWeights, cards: Sequence[Card], plan: Plan, shares: Sequence[Share]
    ) -> Stages:
        """Put a model on two cards that share every matrix."""
        plans = [replace(plan, columns=share.columns) for share in shares]
        return cls(
            tuple(
                Stage(
                    card,
                    share,
                    Decoder(weights, card, own, share, gather=gather),
                    LMHead(weights, card, own, gather),
                )
                for card, share, own, gather in zip(cards, shares, plans, Gather.between(cards, plans), strict=True)
            ),
            plan,
        )

    def prefill(self, group: Group, output: HeadOutput) -> Iterator[tuple[list[HeadResult], slice]]:
        """Run a chunk of a prompt, and yield the logits of its `logit_rows`, at most 32 at a time.

        Args:
            group: The step.
            output: What the lm_head leaves for the host. It is read before the next results are taken.

        Yields:
            The results of the cards that have the lm_head, and which of the `logit_rows` these are.
        """
        inputs = [Inputs.upload(group, stage.card) for stage in self.all]
        hidden = self.launch(
            [
                stage.decoder(given, group.sequences, group.blocks, decode=False)
                for stage, given in zip(self.all, inputs, strict=True)
            ]
        )
        heads = [(stage.lm_head, rows) for stage, rows in zip(self.all, hidden, strict=True) if stage.lm_head]
        for first in range(0, len(group.logit_rows), DECODE_ROWS):
            some = slice(first, first + DECODE_ROWS)
            rows = group.logit_rows[some]
            picked = [lm_head.pick(all_rows, rows) for lm_head, all_rows in heads]
            bucket = self.plan.decode_bucket(len(rows))
            yield [lm_head(x, bucket, output) for (lm_head, _), x in zip(heads, picked, strict=True)], some

    def launch[T](self, parts: Sequence[Part[T]]) -> list[T]:
        """Launch each card's part of a step, and return the results of the parts.

        A card of a chain waits for those before it only. So all of its part is launched before the next one.
        """
        in_turns = self.all[0].share.columns is not None
        return run_in_turns(parts) if in_turns else [run(part) for part in parts]

    def allocate(self, num_blocks: int) -> None:
        """Allocate the KV cache of every layer on its card, all zeros. An earlier cache is freed."""
        for stage in self.all:
            stage.card.traces.release()
            stage.decoder.allocate(num_blocks)
