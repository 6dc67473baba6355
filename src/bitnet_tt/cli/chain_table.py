"""The part of `bitnet-tt plan` about several cards: chains, copies of the model, and tensor parallelism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from bitnet_tt.cli.output import describe_bytes, print_table

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.planning.chain_cost import ChainCost
    from bitnet_tt.backends.tt.planning.tensor_cost import BatchComparison, TensorCost


def print_chains(chains: Sequence[ChainCost], batch: int, context: int) -> None:
    """Print what chains of cards cost and hold. The last of them is the one that was asked for."""
    typer.echo(f"Cards in a chain that share the layers, batch {batch}, context {context}:\n")
    rows = [
        (
            chain.cards,
            _range(chain.layers),
            chain.sequences_together,
            f"{1e6 * chain.handoff_seconds:.0f}",
            f"{1e3 * chain.seconds:.2f}",
            " - ".join(f"{1e3 * end:.1f}" for end in chain.range_seconds),
            f"{chain.tokens_per_second:.0f}",
            "-" if chain.copies_tokens_per_second is None else f"{chain.copies_tokens_per_second:.0f}",
            chain.largest_batch,
            chain.longest_context,
        )
        for chain in chains
    ]
    headings = ["Cards", "Layers", "Rows", "Links", "Likely", "Range", "Tok/s", "Copies", "Batch", "Context"]
    print_table(headings, rows, right=range(10))
    typer.echo(
        "\nRows: sequences of a step; as many steps as cards are under way. Links: µs of\n"
        "the hand-offs of a step. Likely: ms for a token of each sequence. Copies: tokens\n"
        "a second with the whole model on each card. Batch: the most sequences of this\n"
        "context that fit. Context: the longest that fits with this batch.\n"
    )
    chain = chains[-1]
    cards = zip(chain.layers, chain.weight_bytes, chain.cache_bytes, strict=True)
    table = [
        (place, layers, describe_bytes(weights), describe_bytes(cache))
        for place, (layers, weights, cache) in enumerate(cards)
    ]
    print_table(["Card", "Layers", "Weights", "Cache"], table, right=range(4))
    typer.echo(
        f"\nFor a token of each sequence: {chain.launches} launches on all cards, "
        f"{describe_bytes(chain.handoff_bytes)} over all links."
    )


def print_tensor_parallel(cost: TensorCost, batch: int, context: int) -> None:
    """Print what two cards cost and hold that share every matrix."""
    typer.echo(f"Two cards that share every matrix (tensor parallel), batch {batch}, context {context}:\n")
    row = (
        cost.exchanges,
        f"{1e6 * cost.exchange_seconds:.0f}",
        f"{1e3 * cost.seconds:.2f}",
        " - ".join(f"{1e3 * end:.1f}" for end in cost.range_seconds),
        f"{cost.tokens_per_second:.0f}",
        cost.largest_batch,
        cost.longest_context,
    )
    headings = ["Exchanges", "Links", "Likely", "Range", "Tok/s", "Batch", "Context"]
    print_table(headings, [row], right=range(7))
    typer.echo("\nExchanges of a step; links: their time in µs. Batch, context: the most that fit.\n")
    cards = zip(cost.weight_bytes, cost.cache_bytes, strict=True)
    table = [(place, describe_bytes(weights), describe_bytes(cache)) for place, (weights, cache) in enumerate(cards)]
    print_table(["Card", "Weights", "Cache"], table, right=range(3))
    typer.echo(
        f"\nA step: {cost.launches} launches on both cards, {describe_bytes(cost.exchange_bytes)} each way over "
        "the link."
    )


def print_comparisons(comparisons: Sequence[BatchComparison], context: int) -> None:
    """Print tokens a second of one card and of two, for several batches."""
    typer.echo(f"Likely tokens a second of all sequences on two cards, context {context}:\n")
    rows = [
        (
            one.batch,
            f"{one.one_card:.0f}",
            f"{one.chain:.0f}",
            "-" if one.copies is None else f"{one.copies:.0f}",
            f"{one.tensor_parallel:.0f}",
            one.fastest.replace("_", " "),
        )
        for one in comparisons
    ]
    print_table(["Batch", "One card", "Chain", "Copies", "Tensor parallel", "Fastest"], rows, right=range(5))


def _range(layers: Sequence[int]) -> str:
    return str(min(layers)) if min(layers) == max(layers) else f"{min(layers)} - {max(layers)}"
