"""Terminals: which streams are one, and which of them want text without escape codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a standard stream is a terminal. A stream that the caller of the program closed is None."""
    return stream is not None and not stream.closed and stream.isatty()


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error.

    It writes no escape codes if NO_COLOR is set, if TERM is dumb or unknown, or if the stream is no terminal. rich
    reads these variables. With NO_COLOR alone it would only leave out colours, and still write bold and dim text.
    """
    from rich.console import Console

    console = Console(stderr=stderr)
    return Console(stderr=stderr, force_terminal=False) if console.no_color else console


def has_styles(*, stderr: bool = False) -> bool:
    """Return whether standard output, or standard error, is a terminal that takes escape codes."""
    return is_terminal(sys.stderr if stderr else sys.stdout) and open_console(stderr=stderr).color_system is not None


def use_plain_help() -> None:
    """Make the help and the usage errors of Typer plain text if a terminal takes no escape codes."""
    if any(is_terminal(stream) for stream in (sys.stdout, sys.stderr)) and open_console().no_color:
        from typer import rich_utils

        rich_utils.FORCE_TERMINAL = False
