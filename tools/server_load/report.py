"""What a run has found: counts, broken promises, and figures; as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tools.server_load.program import Usage

_SHOWN = 20
"""Of each broken promise, so many cases are kept; all are counted."""


@dataclass(slots=True)
class Report:
    """The report of one run.

    Attributes:
        settings: The options of the run.
        counts: How many requests ended how, by kind and outcome.
        broken: Cases of each broken promise, the first ones.
        broken_counts: How many cases there were of each.
        compared: How many answers under load were compared with those of the idle server.
        usage: What the server used: after warming up, and after the load.
        peak_rss_bytes: The peak of its memory.
        load_seconds: How long the load lasted.
        drain: How the end by SIGTERM went.
        restart: How the start after SIGKILL went.
    """

    settings: dict[str, Any]
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    broken_counts: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    load_seconds: float = 0.0
    drain: dict[str, float] = field(default_factory=dict)
    restart: dict[str, float] = field(default_factory=dict)

    def count(self, kind: str, outcome: object) -> None:
        """Count a request that has ended."""
        key = kind, str(outcome)
        self.counts[key] = self.counts.get(key, 0) + 1

    def breaks(self, promise: str, case: str) -> None:
        """Note a case in which a promise was broken."""
        self.broken_counts[promise] = self.broken_counts.get(promise, 0) + 1
        cases = self.broken.setdefault(promise, [])
        if len(cases) < _SHOWN:
            cases.append(case)

    def as_json(self) -> str:
        """Return all of it as JSON."""
        counts = [{"kind": kind, "outcome": outcome, "count": n} for (kind, outcome), n in sorted(self.counts.items())]
        fields = asdict(self) | {"counts": counts, "kept": not self.broken_counts}
        return json.dumps(fields, indent=2)

    def as_text(self) -> str:
        """Return all of it for people."""
        total = sum(self.counts.values())
        lines = [
            f"{total:,} requests in {self.load_seconds:.0f} s: "
            + ", ".join(f"{k} {v}" for k, v in self.settings.items()),
            "",
            *(f"{kind:24} {outcome:>12} {n:>9,}" for (kind, outcome), n in sorted(self.counts.items())),
            "",
            f"{self.compared:,} answers compared with those of the idle server",
            "",
            *self._usage_lines(),
            "",
            *(f"SIGTERM: {name} {value:g}" for name, value in self.drain.items()),
            *(f"SIGKILL: {name} {value:.3g}" for name, value in self.restart.items()),
            "",
        ]
        if not self.broken_counts:
            return "\n".join([*lines, "All promises were kept."])
        for promise, cases in self.broken.items():
            lines.append(f"BROKEN, {self.broken_counts[promise]:,} times: {promise}")
            lines += [f"    {case}" for case in cases]
        return "\n".join(lines)

    def _usage_lines(self) -> list[str]:
        rows = [f"{'':14} {'RSS MB':>8} {'descriptors':>12} {'threads':>8} {'texts':>6} {'KV cache':>9}"]
        for name, usage in self.usage.items():
            rows.append(
                f"{name:14} {usage.rss_bytes / 1e6:8.1f} {usage.descriptors:12} {usage.threads:8} {usage.texts:6} "
                f"{usage.cache_ratio:9.3f}"
            )
        return [*rows, f"{'peak':14} {self.peak_rss_bytes / 1e6:8.1f}"]
