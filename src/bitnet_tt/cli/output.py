"""Print tables that fit the terminal, and format sizes in bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import typer

from bitnet_tt.cli.terminal import open_console

_UNITS = ("B", "kB", "MB", "GB", "TB")


def describe_bytes(count: float) -> str:
    """Format a size with three digits in a decimal unit, such as `1.23 GB` for 1.23e9 bytes."""
    unit = 0
    while abs(count) >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.3g} {_UNITS[unit]}"


def dump_json(value: Any, indent: int | None = None) -> str:
    """Return JSON for standard output. Unless that is in a Unicode encoding, the JSON is ASCII."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=not unicode, indent=indent)


def print_notes(notes: Iterable[str]) -> None:
    """Print what users should know about a model on standard error."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def print_table(headings: Iterable[str], rows: Iterable[Iterable[Any]], *, right: Iterable[int] = ()) -> None:
    """Print a table on standard output. Long cells continue on the next line; nothing is cut off.

    Args:
        headings: Names of the columns. If all are empty, no headings are printed.
        rows: The cells of each row; str() formats them.
        right: Indices of the columns to align to the right, for numbers.
    """
    from rich.table import Table
    from rich.text import Text

    names = list(headings)
    table = Table(box=None, show_header=any(names), pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in set(right) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    open_console().print(table)
