"""The environment variables of ttnn that this package reads or sets. This is the only place that touches them.

They are ttnn's own interface: it decides from them what it opens (a card, a simulator, a mock) and where it logs.
BitNet-TT has no environment variables of its own.
"""

from __future__ import annotations

import os
from pathlib import Path


def silence_ttnn() -> None:
    """Turn ttnn's log off. Call it before ttnn is imported, or ttnn logs to standard output, where text goes."""
    from loguru import logger  # comes with ttnn

    logger.disable("ttnn")
    os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")


def is_mock() -> bool:
    """Whether ttnn runs in mock mode: programs are built and memory is allocated, but nothing runs."""
    return "TT_METAL_MOCK_CLUSTER_DESC_PATH" in os.environ


def simulator() -> str:
    """Path of the simulator that ttnn would open; empty without one."""
    return os.environ.get("TT_METAL_SIMULATOR", "")


def runtime_root() -> Path | None:
    """Folder of ttnn's runtime files if it is not that of the package."""
    root = os.environ.get("TT_METAL_RUNTIME_ROOT")
    return Path(root) if root else None
