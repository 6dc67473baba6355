"""Write a file or folder so that it appears complete or not at all.

It is written inside a hidden folder beside its target, `.NAME.xxxxxxxx.partial`, synced to the disk, and then renamed.
The writer deletes the hidden folder at its end, also after an error or an exception such as Ctrl-C.

A writer that is killed without notice cannot do that. So it holds a lock (flock) on its hidden folder while it runs.
The system frees the lock when the process ends, however it ends. The next writer to the same target deletes those
hidden folders whose lock is free, and only those. Process ids would not do: they are reused, and differ between
containers.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitnet_tt.errors import CheckpointError

CONFIG = "config.json"
"""The file by which a folder with a checkpoint is recognised."""

_OLD = "old"
"""The name inside the hidden folder of a target that is being replaced."""


@contextmanager
def staged(target: Path, size: int, *, overwrite: bool = False, marker: str = CONFIG) -> Iterator[Path]:
    """Yield a temporary path for a new file or folder. When the block ends, rename it to `target`.

    If the block raises, the temporary file or folder is deleted and the target stays as it was.

    Args:
        target: The file or folder to create.
        size: Roughly the bytes that will be written.
        overwrite: Replace an existing target. A folder is replaced only if it holds a file named `marker`.
        marker: The file by which a folder of this kind is recognised: config.json for a checkpoint.

    Raises:
        CheckpointError: The target exists, the disk is too full, or the target cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - Path.resolve would follow a target that is a link
    prepare_target(target, overwrite=overwrite, marker=marker)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise CheckpointError(
                f"{target} needs {size / 1e9:.2f} GB but its disk has {free / 1e9:.2f} GB free; free some "
                "space or choose another disk"
            )
        with _hidden_folder(target) as folder:
            temporary = folder / "new"
            yield temporary
            _sync(temporary)
            _replace(temporary, target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}; choose another place") from error


def prepare_target(target: Path, *, overwrite: bool, marker: str = CONFIG) -> None:
    """Delete what a killed writer left of this target, and refuse a target that exists, unless it may be overwritten.

    `staged` does this too. Call it first to fail before a long preparation.

    Raises:
        CheckpointError: The target exists and `overwrite` is false, or it is a folder without `marker`.
    """
    for leftover in _hidden_folders(target):
        _delete_if_unlocked(leftover, target)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise CheckpointError(f"{target} exists already; choose another name or allow overwriting")
    if target.is_dir() and not (target / marker).is_file():
        raise CheckpointError(f"{target} is a folder without {marker}, so it is not overwritten; choose another name")


@contextmanager
def _hidden_folder(target: Path) -> Iterator[Path]:
    """Create, lock and yield a hidden folder beside the target; delete it at the end."""
    folder: Path | None = None
    descriptor: int | None = None
    try:
        while folder is None or descriptor is None:
            folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
            folder.mkdir()
            descriptor = _lock(folder)
        yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _hidden_folders(target: Path) -> list[Path]:
    """Return the hidden folders of writers to this target."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    try:
        return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    except OSError:
        return []  # the folder of the target does not exist or cannot be read


def _lock(folder: Path) -> int | None:
    """Lock a hidden folder that this process has just created.

    Returns:
        The descriptor that holds the lock; None if another writer found the folder before it was locked, and deletes
        it. A file system without locks is no error: nobody can then lock the folder to delete it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        return descriptor
    os.close(descriptor)
    return None


def _delete_if_unlocked(folder: Path, target: Path) -> None:
    """Delete a hidden folder if its writer has ended.

    If the writer ended between moving an old target away and moving the new one to its place, the old one goes back.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / _OLD).is_dir() and not os.path.lexists(target):
            (folder / _OLD).rename(target)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # its writer is running, or the file system has no locks
    finally:
        os.close(descriptor)


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
    old = temporary.with_name(_OLD)
    target.rename(old)
    try:
        temporary.rename(target)
    except BaseException:
        if not os.path.lexists(target):
            old.rename(target)
        raise
