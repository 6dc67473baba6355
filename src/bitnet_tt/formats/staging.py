"""Files that appear whole or not at all: written beside their place under another name, synced, then renamed."""

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
    """Give a path to write a file or folder at; it becomes `target` when the block ends well and vanishes otherwise.

    Args:
        target: The file or folder to be.
        size: About how many bytes will be written.
        overwrite: Replace an existing target; of folders, only one with a checkpoint in it.

    Raises:
        CheckpointError: The target exists, or there is no room or no permission for it.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - a link as the target is not to be followed
    check_target(target, overwrite=overwrite)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise CheckpointError(f"{target} needs {size / 1e9:.2f} GB but its disk has {free / 1e9:.2f} GB free")
        yield temporary
        _sync(temporary)
        _replace(temporary, target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that exists, unless it may be overwritten; `staged` does so too, but after the reading.

    Raises:
        CheckpointError: It exists and may not, or must not, be overwritten.
    """
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise CheckpointError(f"{target} exists already; give another name, or say that it is to be overwritten")
    if target.is_dir() and not (target / "config.json").is_file():
        raise CheckpointError(f"{target} is a folder without a checkpoint and is not overwritten; give another name")


def _sync(path: Path) -> None:
    """Have the disk hold what was written before the name says so."""
    for entry in (*path.iterdir(), path) if path.is_dir() else (path,):
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
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
