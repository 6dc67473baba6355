"""The time of a decode step on two cards that share every matrix, by arithmetic, beside other uses of two cards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitnet_tt.backends.tt.planning.chain_cost import chain_cost
from bitnet_tt.backends.tt.planning.columns import TENSOR_PARALLEL_CARDS
from bitnet_tt.backends.tt.planning.cost import decode_cost
from bitnet_tt.backends.tt.planning.exchange import step_exchanges
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.memory import cache_blocks, kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.pipeline import check_cards
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.rates import BEST, LIKELY, WORST, Rates
from bitnet_tt.backends.tt.planning.shares import share_matrices

BATCHES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that `compare_batches` compares."""


@dataclass(frozen=True, slots=True)
class TensorCost:
    """The cost of decoding on two cards that share every matrix, and what their memory has room for.

    Attributes:
        weight_bytes: DRAM of each card's weights.
        cache_bytes: DRAM of each card's part of the KV cache, for this context and batch.
        launches: Programs that a step launches, on both cards together.
        exchanges: How often a step makes rows whole.
        exchange_bytes: What passes over the link in a step, in the direction that carries more.
        exchange_seconds: The likely time of all exchanges of a step.
        seconds: The likely time of a step.
        range_seconds: The same at the best and at the worst rates.
        tokens_per_second: Tokens a second of all sequences.
        largest_batch: Sequences whose cache fits, with this context.
        longest_context: Positions of a sequence whose cache fits, with this batch, at most the model's limit.
    """

    weight_bytes: tuple[int, ...]
    cache_bytes: tuple[int, ...]
    launches: int
    exchanges: int
    exchange_bytes: int
    exchange_seconds: float
    seconds: float
    range_seconds: tuple[float, float]
    tokens_per_second: float
    largest_batch: int
    longest_context: int


@dataclass(frozen=True, slots=True)
class BatchComparison:
    """Likely tokens a second of all sequences of a batch, on one card and on two.

    Attributes:
        batch: Sequences.
        one_card: One card alone.
        chain: Two cards that share the layers.
        copies: Two cards, each with the model and half of the sequences. None if the model does not fit on a card.
        tensor_parallel: Two cards that share every matrix.
    """

    batch: int
    one_card: float
    chain: float
    copies: float | None
    tensor_parallel: float

    @property
    def fastest(self) -> str:
        """The fastest of them, in the words of the fields."""
        speeds = {name: getattr(self, name) or 0.0 for name in ("one_card", "chain", "copies", "tensor_parallel")}
        return max(speeds, key=speeds.__getitem__)


def tensor_cost(plan: Plan, batch: int, context: int) -> TensorCost:
    """Return the cost of a decode step of greedy texts.

    The cards wait for each other at each exchange. So a step takes the time of the card with the larger share, and
    that of the exchanges.

    Args:
        plan: The model and a card.
        batch: Sequences, at most 32.
        context: Positions of each sequence.

    Raises:
        DeviceError: The model cannot be shared in this way, see `share_columns`.
    """
    shares, blocks_each = share_matrices(plan.config, TENSOR_PARALLEL_CARDS), -(-context // TILE)
    steps = [decode_cost(replace(plan, columns=share.columns), batch, context) for share in shares]
    slowest = max(steps, key=lambda step: step.seconds)
    exchanges = list(step_exchanges(plan, batch))
    best, likely, worst = (sum(_seconds(one.packets, rates) for one in exchanges) for rates in (BEST, LIKELY, WORST))
    blocks = min(cache_blocks(plan, share) for share in shares)
    seconds = slowest.seconds + likely
    return TensorCost(
        weight_bytes=tuple(weight_bytes(plan, share) for share in shares),
        cache_bytes=tuple(kv_cache_bytes(plan, batch * blocks_each, share) for share in shares),
        launches=sum(step.launches for step in steps),
        exchanges=len(exchanges),
        exchange_bytes=sum(one.packets * one.packet_bytes for one in exchanges),
        exchange_seconds=likely,
        seconds=seconds,
        range_seconds=(slowest.range_seconds[0] + best, slowest.range_seconds[1] + worst),
        tokens_per_second=batch / seconds,
        largest_batch=blocks // blocks_each,
        longest_context=min(plan.config.max_position_embeddings, blocks // batch * TILE),
    )


def compare_batches(plan: Plan, context: int) -> list[BatchComparison]:
    """Compare the uses of two cards, for each batch of `BATCHES` whose cache fits on one of them.

    Raises:
        DeviceError: Two cards cannot share the layers or the matrices of the model.
    """
    check_cards(plan.config, TENSOR_PARALLEL_CARDS)
    comparisons = []
    for batch in BATCHES:
        alone, chain = (chain_cost(plan, cards, batch, context) for cards in (1, TENSOR_PARALLEL_CARDS))
        parallel = tensor_cost(plan, batch, context)
        if batch <= min(alone.largest_batch, chain.largest_batch, parallel.largest_batch):
            speeds = alone.tokens_per_second, chain.tokens_per_second, chain.copies_tokens_per_second
            comparisons.append(BatchComparison(batch, *speeds, parallel.tokens_per_second))
    return comparisons


def _seconds(packets: int, rates: Rates) -> float:
    """Return the time of one exchange: a program, a hop, and packets, which are sent and then copied."""
    return rates.fabric_launch_seconds + rates.hop_seconds + 2 * packets * rates.packet_seconds
