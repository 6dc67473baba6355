"""Progress bars: on standard error, only on a terminal, and by default only for work longer than half a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import typer

from bitnet_tt.cli.terminal import has_styles, is_terminal, open_console

_PATIENCE_SECONDS = 0.5

type Update = Callable[[int, int], None]


@contextmanager
def progress_bar(label: str, patience: float = _PATIENCE_SECONDS) -> Iterator[Update]:
    """Yield a function to call with (done, total). Once `patience` seconds have passed, it shows a bar.

    A terminal that takes no escape codes gets one line with the label instead.
    """
    with ExitStack() as stack:
        started = time.monotonic()
        shown: list[Update] = []

        def update(done: int, total: int) -> None:
            if not shown and is_terminal(sys.stderr) and time.monotonic() - started >= patience:
                shown.append(_show(label, stack))
            for show in shown:
                show(done, total)

        yield update


def _show(label: str, stack: ExitStack) -> Update:
    if not has_styles(stderr=True):  # a bar moves the cursor
        typer.echo(f"{label} ...", err=True)
        return lambda _done, _total: None
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = stack.enter_context(Progress(*columns, console=open_console(stderr=True), transient=True))
    task = bar.add_task(label)
    return lambda done, total: bar.update(task, completed=done, total=total)
