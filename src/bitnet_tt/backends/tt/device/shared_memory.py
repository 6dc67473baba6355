"""Files in /dev/shm that ttnn's driver makes: remove those of this process, and find those of dead processes."""

from __future__ import annotations

import os
import re
from pathlib import Path

_FOLDER = "dev/shm"
_CHIPS_OF_A_PROCESS = 32
"""The driver numbers a simulated chip by its process: process id * 32 + index. A card's chip has a number below 32."""


def remove_own_locks(root: Path = Path("/")) -> None:
    """Remove the locks of chips that this process simulated. A card's locks stay: all programs share them."""
    for path in _locks(root):
        if _process_of(path) == os.getpid():
            path.unlink(missing_ok=True)


def stale_files(root: Path) -> list[Path]:
    """Return the files of processes that ended without closing their device.

    These are locks of simulated chips whose process is gone, and counts of memory that no process has open. Only
    processes that the caller may look into can be seen.

    Args:
        root: The folder in which the file system begins.
    """
    owners = ((path, _process_of(path)) for path in _locks(root))
    locks = [path for path, owner in owners if owner and not (root / "proc" / str(owner)).exists()]
    counts = sorted((root / _FOLDER).glob("tt_device_*"))
    if not counts:
        return locks
    in_use = "\n".join(map(_maps, (root / "proc").glob("[0-9]*")))
    return locks + [path for path in counts if not re.search(rf"/{re.escape(path.name)}$", in_use, re.MULTILINE)]


def _locks(root: Path) -> list[Path]:
    return sorted((root / _FOLDER).glob("TT_UMD_LOCK.*"))


def _process_of(lock: Path) -> int:
    """Return the process that simulates a lock's chip; 0 if the chip is a card's."""
    number = re.search(r"_(\d+)_", lock.name.removeprefix("TT_UMD_LOCK"))
    return int(number[1]) // _CHIPS_OF_A_PROCESS if number else 0


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text(errors="replace")
    except OSError:  # it ended meanwhile, or belongs to another user
        return ""
