"""`bitnet-tt doctor`: check this machine, and say how to repair what is wrong or missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_tt.backends.options import MAX_CARDS

if TYPE_CHECKING:
    from bitnet_tt.cli.doctor.check import Check

_STYLES = {"ok": "green", "warn": "yellow", "missing": "dim"}


def doctor(
    cards: Annotated[
        int,
        typer.Option(help="Also test the cables between this number of Tenstorrent cards.", min=1, max=MAX_CARDS),
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: CPU, memory, software, Tenstorrent card.

    The exit code is 1 only if models cannot run on the CPU. All other checks
    are optional.

    Examples:
        bitnet-tt doctor
        bitnet-tt doctor --json
        bitnet-tt doctor --cards 2
    """
    from bitnet_tt.cli.doctor.cards import check_cables
    from bitnet_tt.cli.doctor.host import check_host
    from bitnet_tt.cli.doctor.software import check_software
    from bitnet_tt.cli.doctor.tenstorrent import check_tenstorrent

    root = Path("/")
    checks = [*check_host(root), *check_software(), *check_tenstorrent(root)]
    if cards > 1:
        checks.append(check_cables(cards))
    runs = not any(check.prevents_cpu for check in checks)
    if as_json:
        typer.echo(json.dumps({"cpu_runs": runs, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        _print(checks)
        typer.echo("\nModels run on this machine's CPU." if runs else "\nModels cannot run on this machine's CPU.")
    if not runs:
        raise typer.Exit(1)


def _print(checks: list[Check]) -> None:
    from rich.text import Text

    from bitnet_tt.cli.output import print_table

    rows = []
    for check in checks:
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n{check.remedy}", style="dim")
        rows.append(
            (Text(check.status, style="red" if check.prevents_cpu else _STYLES[check.status]), check.name, found)
        )
    print_table(["", "", ""], rows)
