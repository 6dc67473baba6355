"""The memory of this process: its peak, and what it consists of."""

from __future__ import annotations

from pathlib import Path

from bitnet_tt.backends.base import Backend
from bitnet_tt.bench.report.results import Memory
from bitnet_tt.checkpoint import Checkpoint


def measure_memory(backend: Backend, checkpoint: Checkpoint, *, interpreter_bytes: int) -> Memory:
    """Return the memory that this process has used so far.

    Args:
        backend: The backend that ran the model.
        checkpoint: The model's files.
        interpreter_bytes: Resident memory before the model was opened.
    """
    stats = backend.stats()
    return Memory(
        peak_rss_bytes=peak_rss_bytes(),
        weight_bytes=sum(file.size for file in checkpoint.files) if stats.weight_bytes is None else stats.weight_bytes,
        file_bytes=stats.file_bytes,
        screen_bytes=stats.screen_bytes,
        kv_cache_bytes=stats.kv_cache_bytes,
        interpreter_bytes=interpreter_bytes,
    )


def peak_rss_bytes() -> int:
    """Return the peak of this process's resident memory, pages of mapped files included (VmHWM of proc(5))."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
