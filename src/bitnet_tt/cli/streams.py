"""The standard streams: reading a text."""

from __future__ import annotations

import sys


def read_text() -> str:
    """Return all of standard input, without one newline at its end: echo and editors put it there.

    Raises:
        UnicodeDecodeError: It is not text in the encoding of standard input.
    """
    return sys.stdin.read().removesuffix("\n")
