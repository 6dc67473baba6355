"""`bitnet-tt plan`: how a model lies on a Tenstorrent card, and what bounds its speed there."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bitnet_tt.cli.options import MODEL_HELP, HubOptions
from bitnet_tt.cli.output import describe_bytes, print_table

if TYPE_CHECKING:
    from bitnet_tt.backends.ttnn.report import Report


def plan(
    hub: HubOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    batch: Annotated[int, typer.Option(help="Sequences decoded at once.", min=1, max=32)] = 1,
    context: Annotated[int, typer.Option(help="Positions of each.", min=1)] = 128,
    precision: Annotated[Literal["exact", "fast"], typer.Option(help="As for the other commands.")] = "fast",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a model's bytes lie on a Tenstorrent card and the speed they allow.

    Nothing is measured and no card is needed: this is arithmetic on the shapes, for the smallest grid of a p150.

    Examples:
        bitnet-tt plan microsoft/bitnet-b1.58-2B-4T
        bitnet-tt plan microsoft/bitnet-b1.58-2B-4T --batch 32 --context 4096
    """
    from bitnet_tt.backends.ttnn.plan import Plan
    from bitnet_tt.backends.ttnn.report import BLACKHOLE, report
    from bitnet_tt.checkpoint import Checkpoint

    config = Checkpoint.open(hub.resolve(model)).config
    layout = Plan(config, BLACKHOLE, precision, context)
    layout.check_dram(batch * layout.context_blocks(context))
    facts = report(layout, batch, context)
    if as_json:
        typer.echo(json.dumps(asdict(facts) | {"grid": asdict(BLACKHOLE)}, indent=2))
    else:
        _print(facts)


def _print(facts: Report) -> None:
    rows = [
        (
            cost.name,
            cost.count,
            f"{cost.tiles:,}",
            cost.cores,
            describe_bytes(cost.dram_bytes),
            describe_bytes(cost.l1_bytes),
            f"{1e6 * cost.seconds:.0f}",
            cost.bound,
        )
        for cost in facts.costs
    ]
    print_table(
        ["Operation", "Times", "Tiles", "Cores", "DRAM", "L1", "µs", "Bound by"], rows, right=(1, 2, 3, 4, 5, 6)
    )
    typer.echo(
        f"\nWeights {describe_bytes(facts.weight_bytes)}, cache {describe_bytes(facts.cache_bytes)} of DRAM; "
        f"{facts.launches} launches a step.\n"
        f"At most {facts.tokens_per_second:.0f} tokens/s, by bandwidth and arithmetic alone: a model of the card,\n"
        "not a measurement. What launches and the work between products add, only a\ncard can tell."
    )
