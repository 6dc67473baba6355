"""How the commands write: tables that fit 80 columns, sizes, errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")


def describe_error(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return "the input is not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def describe_bytes(count: float) -> str:
    """A size in decimal units, as disks and downloads give it."""
    unit = 0
    while abs(count) >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.3g} {_UNITS[unit]}"


def print_table(headings: Iterable[str], rows: Iterable[Iterable[Any]], *, right: Iterable[int] = ()) -> None:
    """Print a table on standard output; long cells are folded, never cut.

    Args:
        headings: Names of the columns; a table without any has none.
        rows: Cells, written with str().
        right: Columns to align to the right, for numbers.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(headings)
    table = Table(box=None, show_header=any(names), pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in set(right) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    Console().print(table)
