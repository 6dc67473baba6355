"""The environment variables of ttnn that this package reads or sets. This is the only place that touches them.

They are ttnn's own interface: it decides from them what it opens (a card, a simulator, a mock) and where it logs.
BitNet-TT has no environment variables of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

_TIME_LIMIT = "TT_METAL_OPERATION_TIMEOUT_SECONDS"


def silence_ttnn() -> None:
    """Turn ttnn's log off. Call it before ttnn is imported, or ttnn logs to standard output, where text goes."""
    from loguru import logger  # comes with ttnn

    logger.disable("ttnn")
    os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")


def keep_folders_clean() -> None:
    """Let ttnn leave nothing in the working directory and in /dev/shm. Call it before a device is opened.

    What a user has set stays.
    """
    # Else its reports go to a folder `generated` where the program runs.
    os.environ.setdefault("TT_METAL_LOGS_PATH", str(Path.home() / ".cache/ttnn/logs"))
    # Else it keeps its counts of memory in a file that stays if the process is killed.
    os.environ.setdefault("TT_METAL_SHM_TRACKING_DISABLED", "1")
    # Else its MPI makes a file of 16 MB for talking to other processes, which always stays. There are no others, unless
    # mpirun started this process.
    if "OMPI_COMM_WORLD_SIZE" not in os.environ:
        os.environ.setdefault("OMPI_MCA_btl", "^sm")


def limit_power(watts: int) -> None:
    """Let ttnn set the chip's TDP limit when it opens a card, also in processes that this one starts."""
    os.environ["TT_METAL_TDP_LIMIT_WATTS"] = str(watts)


def limit_waiting(seconds: int) -> None:
    """Let ttnn give up on a card that has not answered for so long. Call it before a device is opened.

    A simulator is slow, so there only a user sets a limit.
    """
    if not simulator():
        os.environ.setdefault(_TIME_LIMIT, str(seconds))


def time_limit() -> float | None:
    """Seconds after which ttnn gives up on a card; None if it waits for ever."""
    seconds = float(os.environ.get(_TIME_LIMIT) or 0)
    return seconds if seconds > 0 else None


def has_mesh_graph() -> bool:
    """Whether the user has given ttnn a description of how chips are connected."""
    return bool(os.environ.get("TT_MESH_GRAPH_DESC_PATH"))


def is_mock() -> bool:
    """Whether ttnn runs in mock mode: programs are built and memory is allocated, but nothing runs.

    A simulator may have a descriptor too, which then says how its chips are connected.
    """
    return "TT_METAL_MOCK_CLUSTER_DESC_PATH" in os.environ and not simulator()


def simulator() -> str:
    """Path of the simulator that ttnn would open; empty without one."""
    return os.environ.get("TT_METAL_SIMULATOR", "")


def runtime_root() -> Path | None:
    """Folder of ttnn's runtime files if it is not that of the package."""
    root = os.environ.get("TT_METAL_RUNTIME_ROOT")
    return Path(root) if root else None
