"""Write a file or folder so that it appears complete or not at all.

It is written under a temporary name beside its target, synced to the disk, and then renamed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitnet_tt.errors import CheckpointError


@contextmanager
def staged(target: Path, size: int, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path for a new file or folder. When the block ends, rename it to `target`.

    If the block raises, the temporary file or folder is deleted and the target stays as it was.

    Args:
        target: The file or folder to create.
        size: Roughly the bytes that will be written.
        overwrite: Replace an existing target. A folder is replaced only if it holds a checkpoint.

    Raises:
        CheckpointError: The target exists, the disk is too full, or the target cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - Path.resolve would follow a target that is a link
    check_target(target, overwrite=overwrite)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise CheckpointError(
                f"{target} needs {size / 1e9:.2f} GB but its disk has {free / 1e9:.2f} GB free; free some "
                "space or choose another disk"
            )
        yield temporary
        _sync(temporary)
        _replace(temporary, target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}; choose another place") from error
    finally:
        _remove(temporary)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that exists, unless it may be overwritten.

    `staged` checks this too. Call it first to fail before a long preparation.

    Raises:
        CheckpointError: The target exists and `overwrite` is false, or it is a folder without a checkpoint.
    """
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise CheckpointError(f"{target} exists already; choose another name or allow overwriting")
    if target.is_dir() and not (target / "config.json").is_file():
        raise CheckpointError(
            f"{target} is a folder without a checkpoint, so it is not overwritten; choose another name"
        )


def _sync(path: Path) -> None:
    """Wait until the disk holds the data, so that a crash after the rename cannot leave an incomplete target."""
    for entry in (*path.iterdir(), path) if path.is_dir() else (path,):
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
    """Rename to the target. A folder cannot be renamed over another one, so an old folder is moved aside first."""
    if not target.is_dir():
        temporary.replace(target)
        return
    old = temporary.with_suffix(".old")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()
