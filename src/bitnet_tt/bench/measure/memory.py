"""How much memory this process has taken, and what for."""

from __future__ import annotations

from pathlib import Path

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.bench.report.results import Memory
from bitnet_tt.checkpoint import Checkpoint


def memory_taken(backend: Backend, checkpoint: Checkpoint, *, interpreter_bytes: int) -> Memory:
    """This process's memory so far.

    Args:
        backend: What ran the model.
        checkpoint: The model's files.
        interpreter_bytes: What was resident before the model was opened.
    """
    cpu = backend if isinstance(backend, CPUBackend) else None
    return Memory(
        peak_rss_bytes=peak_rss_bytes(),
        weight_bytes=cpu.weight_bytes if cpu else sum(file.size for file in checkpoint.files),
        file_bytes=cpu.file_bytes if cpu else None,
        screen_bytes=cpu.screen_bytes if cpu else None,
        kv_cache_bytes=cpu.kv_cache_bytes if cpu else None,
        interpreter_bytes=interpreter_bytes,
    )


def peak_rss_bytes() -> int:
    """This process's greatest resident memory so far (VmHWM of proc(5)); mapped files count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
