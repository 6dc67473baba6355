"""The result of one check, and functions that several checks use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: The subject of the check.
        status: `ok`, `warn` (it works, but not as well as it could) or `missing`.
        found: What the check found.
        remedy: What to do about it; empty if the status is `ok`.
        required: Whether models cannot run on the CPU without it.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""
    required: bool = False

    @property
    def prevents_cpu(self) -> bool:
        """Whether a required part is missing, so that models cannot run on the CPU."""
        return self.required and self.status == "missing"


def read(path: Path) -> str:
    """Return the text of a small system file without spaces around it; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def is_older(version: str, than: str) -> bool:
    """Return whether a dotted version is older than another. A version without numbers is not."""
    found, wanted = ([int(part) for part in re.findall(r"\d+", text)] for text in (version, than))
    return bool(found) and found < wanted
