"""End the program in order on SIGTERM (kill, docker stop, systemd) and SIGHUP (the terminal was closed).

By default these signals end a process at once, and a half-written file stays. Here they raise SystemExit in the main
thread, as Ctrl-C raises KeyboardInterrupt, so that every `finally` runs, also while other threads run native code.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def exit_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into SystemExit with the exit code of shells, 128 + the signal's number.

    A signal that the caller of the program ignores, as nohup ignores SIGHUP, stays ignored.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGHUP from now on."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _exit(number: int, _: FrameType | None) -> None:
    ignore_signals()  # systemd sends both, one after the other: the second must not interrupt the cleaning up
    sys.exit(128 + number)
