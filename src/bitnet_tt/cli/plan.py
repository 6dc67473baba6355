"""`bitnet-tt plan`: where a model's bytes lie on a Tenstorrent card, and what bounds its speed there."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_tt.backends.options import MAX_CARDS, Precision, TernaryTiles
from bitnet_tt.cli.chain_table import print_chains, print_comparisons, print_tensor_parallel
from bitnet_tt.cli.options import CARDS_HELP, MODEL_HELP, TENSOR_PARALLEL_HELP, TERNARY_TILES_HELP, HubOptions
from bitnet_tt.cli.output import describe_bytes, print_table
from bitnet_tt.cli.streams import separate_output
from bitnet_tt.errors import DeviceError

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.planning.chain_cost import ChainCost
    from bitnet_tt.backends.tt.planning.cost import DecodeCost
    from bitnet_tt.backends.tt.planning.grid import Grid
    from bitnet_tt.backends.tt.planning.plan import Plan
    from bitnet_tt.backends.tt.planning.tensor_cost import BatchComparison
    from bitnet_tt.config import ModelConfig

_NOTE = "A model of the card, not a measurement."
_COMMON_SIZES = ((1, 128), (1, 4096), (8, 128), (32, 128), (32, 4096))


def plan(
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    synthetic: Annotated[
        str | None,
        typer.Option(
            metavar="SHAPE",
            help="Plan for a random model of this shape instead: 2b4t, 0.7b, or one with other sizes, such as "
            "2b4t,layers=4.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Sequences decoded at once.", min=1, max=32)] = 1,
    context: Annotated[int, typer.Option(help="Positions of each sequence.", min=1)] = 128,
    precision: Annotated[Precision, typer.Option(help="Precision on the card.")] = "fast",
    ternary_tiles: Annotated[TernaryTiles, typer.Option(help=TERNARY_TILES_HELP)] = "codes",
    cards: Annotated[int, typer.Option(help=CARDS_HELP, min=1, max=MAX_CARDS)] = 1,
    tensor_parallel: Annotated[bool, typer.Option("--tensor-parallel", help=TENSOR_PARALLEL_HELP)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a model's bytes lie on a Tenstorrent card and the speed to expect.

    Nothing is measured. This is arithmetic on the shapes: for the card in this
    machine, or without one for the smallest grid of a p150. It prints the programs
    of one decode step, the step with other forms of the weights, and the times of
    common sizes. No card can be faster than the floor; the likely time adds
    launches, latencies and the rates that others have measured, and its range the
    best and the worst of them. With several cards it also compares chains of cards,
    which share the layers, with copies of the model, and with two cards that share
    every matrix (tensor parallelism).

    Examples:
        bitnet-tt plan --synthetic 2b4t
        bitnet-tt plan microsoft/bitnet-b1.58-2B-4T --batch 32 --context 4096
        bitnet-tt plan --synthetic 2b4t --batch 32 --cards 4
        bitnet-tt plan --synthetic 2b4t --context 4096 --cards 2 --tensor-parallel
    """
    from bitnet_tt.backends.tt.planning.cost import decode_cost, layout_costs
    from bitnet_tt.backends.tt.planning.plan import Plan
    from bitnet_tt.backends.tt.planning.tensor_cost import tensor_cost

    name, config = synthetic or model, _config(synthetic, model, hub)
    grid, source = _find_grid()

    def shapes(length: int) -> Plan:
        return Plan(config, grid, precision, length, ternary_tiles)

    _check_dram(shapes(context), batch, cards, tensor_parallel=tensor_parallel)
    step, layouts = decode_cost(shapes(context), batch, context), layout_costs(shapes(context), batch, context)
    sizes = [(batch, context), *(size for size in _COMMON_SIZES if _fits(shapes(size[1]), size[0]))]
    bounds = {size: decode_cost(shapes(size[1]), *size) for size in dict.fromkeys(sizes)}
    chains = [] if tensor_parallel else _chains(shapes(context), cards, batch)
    parallel = tensor_cost(shapes(context), batch, context) if tensor_parallel else None
    comparisons = _comparisons(shapes(context)) if cards > 1 else []
    if as_json:
        facts = asdict(step) | {
            "grid": asdict(grid),
            "grid_of": source,
            "note": _NOTE,
            "layouts": [{"ternary_weights": form} | _totals(cost) for form, cost in layouts.items()],
            "bounds": [{"batch": size[0], "context": size[1]} | _totals(cost) for size, cost in bounds.items()],
            "chains": [asdict(chain) for chain in chains],
            "tensor_parallel": None if parallel is None else asdict(parallel),
            "two_cards": [asdict(one) | {"fastest": one.fastest} for one in comparisons],
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    _say(f"{name}, {precision}, on {grid.x} x {grid.y} cores: {source}. {_NOTE}")
    typer.echo(f"\nA decode step, batch {batch}, context {context}:\n")
    _print_step(step)
    typer.echo("\nThe step with other forms of ternary weights:\n")
    _print_layouts(layouts)
    typer.echo("\nCommon sizes:\n")
    _print_bounds(bounds)
    typer.echo()
    if chains and cards > 1:
        print_chains(chains, batch, context)
        typer.echo()
    if parallel is not None:
        print_tensor_parallel(parallel, batch, context)
        typer.echo()
    if comparisons:
        print_comparisons(comparisons, context)
        typer.echo()
    _say(
        f"Each µs that a launch costs more or less changes the step above by {step.launches / 1e3:.1f} ms. The sources "
        "of all rates are in backends/tt/planning/rates.py."
    )


def _say(text: str) -> None:
    """Print a paragraph in lines of at most 80 characters."""
    typer.echo(textwrap.fill(text, 80))


def _totals(cost: DecodeCost) -> dict[str, Any]:
    """Return the cost of a step for JSON, without its programs."""
    return {key: value for key, value in asdict(cost).items() if key != "costs"}


def _config(synthetic: str | None, model: str, hub: HubOptions) -> ModelConfig:
    if synthetic is not None:
        from bitnet_tt.bench.synthetic import synthetic_config

        return synthetic_config(synthetic)
    from bitnet_tt.checkpoint import Checkpoint

    return Checkpoint.open(hub.resolve(model)).config


def _find_grid() -> tuple[Grid, str]:
    """Return the grid of the device that ttnn opens here, and in words where the grid is from."""
    from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150

    if importlib.util.find_spec("ttnn") is None:
        return SMALLEST_P150, "the smallest grid of a p150, because ttnn is not installed"
    from bitnet_tt.backends.tt.environment import silence_ttnn

    separate_output()
    silence_ttnn()
    from bitnet_tt.backends.tt.device.mesh import open_cards

    try:
        card = open_cards()[0]
    except DeviceError:
        return SMALLEST_P150, "the smallest grid of a p150, because ttnn finds no device here"
    try:
        return card.grid, f"what {card.description} shows"
    finally:
        card.close()


def _chains(shapes: Plan, cards: int, batch: int) -> list[ChainCost]:
    """Return the costs of 1, 2 and 4 cards and of `cards`, as far as the model and the cache of a batch fit on them."""
    from bitnet_tt.backends.tt.planning.chain_cost import chain_cost

    counts = sorted({1, 2, 4, cards} if cards > 1 else {1})
    return [chain_cost(shapes, count, batch, shapes.context_length) for count in counts if _fits(shapes, batch, count)]


def _comparisons(shapes: Plan) -> list[BatchComparison]:
    """Compare the uses of two cards for several batches. None if the model's matrices cannot be shared."""
    from bitnet_tt.backends.tt.planning.tensor_cost import compare_batches

    try:
        return compare_batches(shapes, shapes.context_length)
    except DeviceError:
        return []


def _check_dram(shapes: Plan, batch: int, cards: int = 1, *, tensor_parallel: bool = False) -> None:
    """Check that the model and the cache of a batch fit on some cards.

    Raises:
        DeviceError: They do not, or the model cannot be shared among so many cards.
    """
    from bitnet_tt.backends.tt.planning.memory import check_dram
    from bitnet_tt.backends.tt.planning.pipeline import check_cards, share_layers
    from bitnet_tt.backends.tt.planning.shares import share_matrices

    check_cards(shapes.config, cards, tensor_parallel=tensor_parallel)
    shares = share_matrices(shapes.config, cards) if tensor_parallel else share_layers(shapes, cards)
    check_dram(shapes, batch * shapes.context_blocks(shapes.context_length), shares)


def _fits(shapes: Plan, batch: int, cards: int = 1) -> bool:
    """Whether the model has contexts of this length, and they fit on the cards."""
    try:
        _check_dram(shapes, batch, cards)
    except DeviceError:
        return False
    return shapes.context_length <= shapes.config.max_position_embeddings


def _print_step(step: DecodeCost) -> None:
    """Print the programs of a step as a table, and its memory and launches below."""
    rows = [
        (
            cost.name,
            cost.count,
            cost.cores,
            describe_bytes(cost.dram_bytes),
            f"{cost.instructions // cost.count:,}",
            cost.transfers // cost.count,
            f"{1e6 * cost.floor_seconds:.0f}",
            f"{1e6 * cost.seconds:.0f}",
            cost.bound,
        )
        for cost in step.costs
    ]
    headings = ["Program", "Times", "Cores", "DRAM", "Cycles", "Reads", "Floor µs", "Likely", "Bound"]
    print_table(headings, rows, right=range(1, 8))
    typer.echo(
        f"\nWeights {describe_bytes(step.weight_bytes)}, cache {describe_bytes(step.cache_bytes)} of DRAM; "
        f"{step.launches} launches."
    )


def _print_layouts(layouts: dict[str, DecodeCost]) -> None:
    """Print what the step costs with each form of ternary weights. "DRAM ms" is all bytes at the peak rate."""
    rows = [
        (
            form,
            describe_bytes(cost.weight_bytes),
            cost.launches,
            f"{1e3 * cost.bandwidth_seconds:.2f}",
            f"{1e3 * cost.floor_seconds:.2f}",
            f"{1e3 * cost.seconds:.2f}",
            _range(cost),
        )
        for form, cost in layouts.items()
    ]
    headings = ["Form", "Weights", "Launches", "DRAM ms", "Floor", "Likely", "Range"]
    print_table(headings, rows, right=range(1, 7))


def _print_bounds(bounds: dict[tuple[int, int], DecodeCost]) -> None:
    """Print the time and the speed of several sizes (batch, context) as a table."""
    rows = [
        (
            batch,
            context,
            f"{1e3 * cost.floor_seconds:.2f}",
            f"{1e3 * cost.seconds:.2f}",
            _range(cost),
            f"{cost.tokens_per_second:.0f}",
            f"{cost.binding[1]}: {cost.binding[0]}",
        )
        for (batch, context), cost in bounds.items()
    ]
    headings = ["Batch", "Context", "Floor ms", "Likely", "Range", "Tokens/s", "Bound by"]
    print_table(headings, rows, right=range(6))


def _range(cost: DecodeCost) -> str:
    best, worst = cost.range_seconds
    return f"{1e3 * best:.1f} - {1e3 * worst:.1f}"
