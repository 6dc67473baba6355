"""The standard streams: closed ones, encodings that lack characters, and reading a text."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import NoReturn

from bitnet_tt.cli.terminal import is_terminal
from bitnet_tt.errors import RequestError


class _ClosedStream(io.TextIOBase):
    """Stands for a standard stream that the caller of the program closed: to read or write it is an OSError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *_: object) -> NoReturn:
        raise OSError(errno.EBADF, f"{self._name} is closed; connect it to a file, a pipe or /dev/null")

    read = readline = write = _refuse


def prepare_streams() -> None:
    """Make every use of a standard stream work, or fail with an OSError that says why.

    Python sets closed streams to None. Their descriptors are connected to /dev/null, so that no file
    that is opened later gets one of them. Standard output writes a character that its encoding lacks as a backslash
    escape, as standard error does anyway.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
    if sys.stdin is None:
        sys.stdin = _ClosedStream("standard input")
    if sys.stdout is None:
        sys.stdout = _ClosedStream("standard output")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def separate_output() -> None:
    """Keep what libraries print out of standard output. Call it before a library is loaded that prints there.

    Afterwards only `sys.stdout` writes to standard output. Everything that is written to its descriptor, even at exit,
    goes to standard error. On a terminal nothing changes: it shows both, and line editing needs the descriptor.
    """
    stream = sys.stdout
    if stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper) or is_terminal(stream):
        return
    stream.flush()
    sys.stdout = os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors=stream.errors)
    os.dup2(2, stream.fileno())


def abandon_output() -> None:
    """Drop text that a standard stream cannot take, so that Python does not try to write it again at exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def read_text() -> str:
    """Return all of standard input, without one newline at its end: echo and editors put it there.

    Raises:
        OSError: Standard input is closed.
        UnicodeDecodeError: It is not text in the encoding of the terminal.
    """
    return sys.stdin.read().removesuffix("\n")


def accept_any_line() -> None:
    """Let lines of standard input that are not text be read, so that one of them does not end the input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def check_text(line: str) -> None:
    """Refuse a line that is not text in the encoding of standard input.

    Raises:
        RequestError: It is not.
    """
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"the line is not {sys.stdin.encoding.upper()} text") from error
