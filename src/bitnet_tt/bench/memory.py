"""How much memory this process has taken."""

from __future__ import annotations

from pathlib import Path


def peak_rss_bytes() -> int:
    """This process's greatest resident memory so far (VmHWM of proc(5)); mapped files count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
