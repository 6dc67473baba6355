"""Measures how much of a mapped file is resident in memory."""

import re
from pathlib import Path


def resident_bytes(path: Path) -> int:
    """Return the resident bytes of a file that this process has mapped, from /proc/self/smaps."""
    maps = Path("/proc/self/smaps").read_text()
    return 1024 * sum(int(size) for size in re.findall(rf"{path}\n(?:.*\n)*?Rss: +(\d+) kB", maps))


def resident_anonymous_bytes() -> int:
    """Bytes of this process's memory that belong to no file: its heap and its anonymous mappings."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)[0])
