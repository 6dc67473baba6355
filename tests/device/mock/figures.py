"""The golden figures: memory, programs and launches of steps on a card.

If a change is meant to change them, regenerate them with `python -m tests.device.mock.figures`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.planning.plan import PRECISIONS
from tests import golden_checkpoints as golden
from tests.device.mock.runtime import HERE, ROOT, environment, run
from tests.test_config import BITNET_2B4T

FILE = HERE / "figures.json"
CONTEXTS = {"demo": 128, "bitnet-packed": 128, "llama-packed-divide": 128, "2b4t": 4096}


def config_of(name: str) -> dict[str, Any]:
    """Return the config of the demo model, a golden checkpoint or 2B4T."""
    if name == "2b4t":
        return BITNET_2B4T
    folder = ROOT / "src/bitnet_tt/assets/demo" if name == "demo" else golden.FOLDER / name
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def measure(mock: dict[str, str], name: str, precision: Precision) -> dict[str, Any]:
    """Return the facts that `tests.device.mock.measure` prints for a model."""
    facts: dict[str, Any] = run(mock, "measure", json.dumps(config_of(name)), precision, str(CONTEXTS[name]))
    return facts


def figures(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that are the same on every machine, without those of the plan."""
    return {
        key: figures(value) if isinstance(value, dict) else value
        for key, value in facts.items()
        if not key.startswith(("planned", "host"))
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mock = environment(Path(folder) / "root")
        table = {
            name: {precision: figures(measure(mock, name, precision)) for precision in PRECISIONS} for name in CONTEXTS
        }
    FILE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
