"""The time of a decode step on a chain of cards by arithmetic, beside that of copies of the model on as many cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bitnet_tt.backends.tt.planning.cost import DecodeCost, decode_cost
from bitnet_tt.backends.tt.planning.exchange import PACKET_BYTES
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, STRIP, TILE
from bitnet_tt.backends.tt.planning.launches import decode_launches
from bitnet_tt.backends.tt.planning.memory import TOKEN_PAGE_BYTES, cache_blocks, kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.pipeline import share_layers
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.planning.rates import BEST, LIKELY, WORST, Rates
from bitnet_tt.backends.tt.planning.shares import Share, whole

_LAYER_PARTS = ("ternary weights", "norms", "heads", "attention")
"""Parts of a step that are those of layers: they are shorter if a card has fewer layers."""

_USUAL_CONTEXT = 1024
"""Positions for which `rows_together` compares sizes. More or fewer hardly change which size is best."""


@dataclass(frozen=True, slots=True)
class ChainCost:
    """The cost of decoding on a chain of cards that share the layers, and what its memory has room for.

    Attributes:
        cards: Cards.
        layers: Layers of each card.
        weight_bytes: DRAM of each card's weights.
        cache_bytes: DRAM of each card's part of the KV cache, for this context and batch.
        launches: Programs that a step of all sequences launches, on all cards together.
        handoffs: How often rows or token ids pass from one card to the next, for each token of a sequence.
        handoff_bytes: What passes on all links together, for a step of all sequences.
        handoff_seconds: The likely time of all hand-offs of one step.
        seconds: The likely time from a sequence's token to its next one.
        range_seconds: The same at the best and at the worst rates.
        tokens_per_second: Tokens a second of all sequences, if as many steps are under way as there are cards.
        sequences_together: Sequences of one such step.
        largest_batch: Sequences whose cache fits, with this context.
        longest_context: Positions of a sequence whose cache fits, with this batch, at most the model's limit.
        copies_tokens_per_second: Tokens a second if each card has a copy of the model and its share of the sequences.
            None if a copy does not fit on a card.
    """

    cards: int
    layers: tuple[int, ...]
    weight_bytes: tuple[int, ...]
    cache_bytes: tuple[int, ...]
    launches: int
    handoffs: int
    handoff_bytes: int
    handoff_seconds: float
    seconds: float
    range_seconds: tuple[float, float]
    tokens_per_second: float
    sequences_together: int
    largest_batch: int
    longest_context: int
    copies_tokens_per_second: float | None


def chain_cost(plan: Plan, cards: int, batch: int, context: int) -> ChainCost:
    """Return the cost of a decode step of greedy texts on a chain.

    Args:
        plan: The model and a card.
        cards: How many cards share the layers.
        batch: Sequences, at most 32.
        context: Positions of each sequence.
    """
    shares, blocks_each = share_layers(plan, cards), -(-context // TILE)
    together = min(batch, rows_together(plan, cards, batch))
    step = decode_cost(plan, together, context)
    best, likely, worst = (_handoff_seconds(plan, cards, together, rates) for rates in (BEST, LIKELY, WORST))
    seconds = _seconds(plan, shares, batch, together, context)
    blocks = min(cache_blocks(plan, share) for share in shares)
    each = -(-batch // cards)
    copies = None
    if cache_blocks(plan, whole(plan.config)) >= each * blocks_each:
        copies = batch / decode_cost(plan, each, context).seconds
    return ChainCost(
        cards=cards,
        layers=tuple(len(share.layers) for share in shares),
        weight_bytes=tuple(weight_bytes(plan, share) for share in shares),
        cache_bytes=tuple(kv_cache_bytes(plan, batch * blocks_each, share) for share in shares),
        launches=-(-batch // together) * decode_launches(plan, together, cards),
        handoffs=2 * (cards - 1),
        handoff_bytes=-(-batch // together) * (cards - 1) * (_rows(plan, together)[0] + TOKEN_PAGE_BYTES),
        handoff_seconds=likely,
        seconds=seconds,
        range_seconds=(
            seconds * (step.range_seconds[0] + best) / (step.seconds + likely),
            seconds * (step.range_seconds[1] + worst) / (step.seconds + likely),
        ),
        tokens_per_second=batch / seconds,
        sequences_together=together,
        largest_batch=blocks // blocks_each,
        longest_context=min(plan.config.max_position_embeddings, blocks // batch * TILE),
        copies_tokens_per_second=copies,
    )


@cache  # each step of the engine asks
def rows_together(plan: Plan, cards: int, sequences: int) -> int:
    """Return the sequences of a decode step of a chain, where steps can follow each other from card to card.

    There are at most as many steps as cards. The size is the one with the shortest likely time for all sequences.

    Args:
        plan: The model and a card.
        cards: How many cards share the layers.
        sequences: All sequences.
    """
    each = -(-sequences // cards)
    if cards == 1 or plan.decode_bucket(each) == DECODE_ROWS:
        return DECODE_ROWS
    shares, context = share_layers(plan, cards), min(_USUAL_CONTEXT, plan.context_length)
    sizes = sorted({plan.decode_bucket(size) for size in range(each, min(sequences, DECODE_ROWS) + 1)})
    return min(sizes, key=lambda size: _seconds(plan, shares, sequences, size, context))


def _seconds(plan: Plan, shares: Sequence[Share], sequences: int, together: int, context: int) -> float:
    """Return the likely time from a token of each sequence to the next one.

    A step takes the whole way through the chain. If that is longer than all steps on the slowest card, cards wait for
    tokens; otherwise steps wait for that card.
    """
    step = decode_cost(plan, min(together, sequences), context)
    handoffs = _handoff_seconds(plan, len(shares), together, LIKELY)
    if len(shares) == 1:
        return step.seconds
    slowest = max(_stage_seconds(plan, step, share) for share in shares) + handoffs / (len(shares) - 1)
    return max(step.seconds + handoffs, -(-sequences // together) * slowest)


def _stage_seconds(plan: Plan, step: DecodeCost, share: Share) -> float:
    """Return the likely time of one card in a step, without its hand-offs."""
    layers = sum(cost.seconds for cost in step.costs if cost.part in _LAYER_PARTS)
    head = sum(cost.seconds for cost in step.costs if cost.part == "lm_head")
    other = sum(cost.seconds for cost in step.costs if cost.part == "other")  # short, and on either end
    return layers * len(share.layers) / plan.config.num_hidden_layers + other + (head if share.is_last else 0.0)


def _rows(plan: Plan, sequences: int) -> tuple[int, int]:
    """Return the bytes of the hidden states of a decode step, and the packets in which they pass."""
    lines, hidden = plan.lines(sequences), plan.config.hidden_size
    if lines is None:
        pages, page_bytes = hidden // TILE, TILE * TILE * FLOAT32_BYTES
    else:
        pages, page_bytes = -(-hidden // STRIP), STRIP * lines * FLOAT32_BYTES
    return pages * page_bytes, pages * -(-page_bytes // PACKET_BYTES)


def _handoff_seconds(plan: Plan, cards: int, sequences: int, rates: Rates) -> float:
    """Return the time of all hand-offs of a step, of rows and of token ids.

    Each is two programs, a hop and packets, which are sent and then copied at about the same rate.
    """
    _, packets = _rows(plan, sequences)
    once = 2 * rates.fabric_launch_seconds + rates.hop_seconds
    return (cards - 1) * (2 * once + 2 * (packets + 1) * rates.packet_seconds)
