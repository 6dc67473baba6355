"""The end of a failed command: one line on standard error, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from bitnet_tt.errors import BitNetError

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


@contextmanager
def exit_on_errors() -> Iterator[None]:
    """Turn errors that users can act on into one line, and Ctrl-C into its exit code.

    Raises:
        typer.Exit: In place of such an error. All other exceptions pass.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output is gone: Typer ends the program without a message
    except (BitNetError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"error: {describe_error(error)}", err=True)
        raise typer.Exit(EXIT_FAILURE) from error
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt


def describe_error(error: Exception) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"the input is not {error.encoding.upper()} text"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
