"""The outcome of one check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it.

    Attributes:
        name: What was looked at.
        status: `ok`, `warn` (works, but not as well as it could) or `missing`.
        found: What is there.
        remedy: What to do, unless all is well.
        required: Whether the CPU path cannot run without it.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""
    required: bool = False

    @property
    def prevents_cpu(self) -> bool:
        """Whether models cannot run on the CPU because of this."""
        return self.required and self.status == "missing"


def read(path: Path) -> str:
    """Text of a small system file, stripped; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def is_older(version: str, than: str) -> bool:
    """Whether a dotted version is older than another; one that cannot be read is not."""
    found, wanted = ([int(part) for part in re.findall(r"\d+", text)] for text in (version, than))
    return bool(found) and found < wanted
