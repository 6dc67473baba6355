"""A target appears complete or not at all, and an old one stays until the new one is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.staging import staged


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.gguf"
    with staged(target, 3) as path:
        path.write_bytes(b"abc")
        assert path.parent.parent == target.parent
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_failure_leaves_nothing_new(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with contextlib.suppress(ZeroDivisionError), staged(target, 0) as path:
        path.mkdir()
        (path / "x").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_overwriting_keeps_the_old_until_the_new_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "config.json").write_text("old")
    with contextlib.suppress(ZeroDivisionError), staged(target, 0, overwrite=True) as path:
        path.mkdir()
        raise ZeroDivisionError
    assert (target / "config.json").read_text() == "old"
    with staged(target, 0, overwrite=True) as path:
        path.mkdir()
        (path / "config.json").write_text("new")
    assert (target / "config.json").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder without config\.json"), staged(tmp_path, 0, overwrite=True):
        pass


def test_full_disks_and_unwritable_targets_are_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"needs 1000000000\.00 GB but its disk has"),
        staged(tmp_path / "x", 10**18),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"), staged(tmp_path / "file" / "x", 0):
        pass
    with pytest.raises(CheckpointError, match="cannot be written: No space left"), staged(tmp_path / "y", 0):
        raise OSError(28, "No space left on device")


KILLED = """
import os, signal, sys
from pathlib import Path
from bitnet_tt.formats import staging
if len(sys.argv) > 2:  # end between moving the old target away and moving the new one to its place
    rename = Path.rename
    def rename_and_die(self, target):
        rename(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = rename_and_die
with staging.staged(Path(sys.argv[1]), 0, overwrite=True) as path:
    path.mkdir()
    (path / "config.json").write_text("new")
    if len(sys.argv) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(target: Path, *arguments: str) -> None:
    result = subprocess.run([sys.executable, "-c", KILLED, str(target), *arguments], check=False)
    assert result.returncode == -signal.SIGKILL


def test_the_next_writer_deletes_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    kill_a_writer(target)
    (leftover,) = tmp_path.iterdir()
    shutil.copytree(leftover, tmp_path / ".other.01234567.partial")  # of another target
    with staged(target, 0) as path:
        assert not leftover.exists()
        path.mkdir()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".other.01234567.partial", "folder"]


def test_a_running_writer_to_the_same_target_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with staged(target, 0, overwrite=True) as first, staged(target, 0, overwrite=True) as second:
        assert first.parent.is_dir()
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the outer one ends last
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_was_moved_away_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "config.json").write_text("old")
    kill_a_writer(target, "while replacing")
    assert not target.exists()
    with pytest.raises(CheckpointError, match="exists already"), staged(target, 0):
        pass
    assert (target / "config.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
