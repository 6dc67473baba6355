"""On a card, numbers agree with the reference, replayed steps equal launched ones, and power is measured.

Run it with pytest -m card on a machine that has one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.backends.tt.device.telemetry import IDLE_MEGAHERTZ
from tests.device.agreement import Numbers
from tests.device.chains import Chains
from tests.device.pairs import Pairs
from tests.device.replays import Replays
from tests.device.whole_models import WholeModels

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.card,
    pytest.mark.skipif(not any(Path("/dev").glob("tenstorrent/[0-9]*")), reason="no card at /dev/tenstorrent"),
]


class TestCard(Numbers, WholeModels, Replays):
    """The tests of `Numbers`, `WholeModels` and `Replays`, on a card."""


class TestCards(Chains, Pairs):
    """The tests of `Chains`, on all cards of the machine, and of `Pairs`, on two."""


@pytest.mark.slow
def test_a_thousand_texts_equal_the_first() -> None:
    """Batches of 1 to 45 copies of one prompt, over one cache: all texts are the same."""
    with BitNetModel.from_pretrained("demo", device="tt", max_batch_size=32) as model:
        first = model.generate("Once upon a time", max_new_tokens=40)
        for size in range(1, 46):
            assert model.generate(["Once upon a time"] * size, max_new_tokens=40) == [first] * size


def test_the_doctor_reads_the_card() -> None:
    checks = {check["name"]: check for check in _json("doctor")["checks"]}
    for name in ("Tenstorrent card", "Driver", "Firmware", "Shared memory", "SFPI"):
        print(checks[name])
        assert checks[name]["status"] == "ok", checks[name]


@pytest.mark.skipif(shutil.which("tt-smi") is None, reason="tt-smi is not installed")
def test_the_power_of_the_card_is_measured() -> None:
    report = _json("bench", "--device", "tt")
    print(report["card"])
    (power,) = report["card"]["power"]
    assert power["samples"] > 0
    assert power["chip_watts"] > 0
    assert power["tokens_per_chip_joule"] > 0
    assert power["megahertz"] > IDLE_MEGAHERTZ


def _json(*arguments: str) -> Any:
    """Run a command in a process of its own, as users do, and return its JSON: all of its standard output."""
    code = "from bitnet_tt.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)
