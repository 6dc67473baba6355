"""The check of several Tenstorrent cards: do numbers pass over the cables between them?"""

from __future__ import annotations

import json
import subprocess
import sys

from bitnet_tt.cli.doctor.check import Check

_SECONDS = 300
"""The time limit. The first run compiles the routers of ttnn's fabric, which takes a minute or two."""

_NAME = "Cables"


def check_cables(cards: int, seconds: float = _SECONDS) -> Check:
    """Send numbers over every cable of a chain of cards, in a process of its own."""
    command = [sys.executable, "-m", "bitnet_tt.backends.tt.model.link_test", str(cards)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Check(
            _NAME,
            "warn",
            f"{cards} cards do not answer within {seconds:.0f} s",
            "reset them with tt-smi -r, and check the cables",
        )
    line = next((line for line in result.stdout.splitlines() if line.startswith("{")), None)
    if line is None:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check(
            _NAME, "warn", f"the test of {cards} cards ended early: {reason}", "reset the cards with tt-smi -r"
        )
    facts = json.loads(line)
    links = ", ".join(f"{source} to {target}" for source, target in facts["links"])
    if facts["error"]:
        found = facts["error"] + (f"; these work: {links}" if links else "")
        return Check(_NAME, "warn", found, "see the page about several cards in the documentation")
    return Check(_NAME, "ok", f"numbers pass from card {links}")
