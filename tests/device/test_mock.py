"""ttnn's mock mode: every operation's checks, programs and allocations at real shapes, without a card or numbers.

Each group of checks is a process of its own, since a mistake may take the process down.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import golden_checkpoints as golden
from tests.device.mock.runtime import environment
from tests.test_config import BITNET_2B4T

pytest.importorskip("ttnn", reason="the extra tt is not installed")

ROOT = Path(__file__).parents[2]
GOLDEN = {name: json.loads((golden.FOLDER / name / "config.json").read_text()) for name in golden.NAMES}
DEMO = json.loads((ROOT / "src/bitnet_tt/assets/demo/config.json").read_text())
TWO_LAYERS_OF_2B4T = BITNET_2B4T | {"num_hidden_layers": 2}


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("ttnn") / "root")


def run(mock: dict[str, str], module: str, *arguments: str, seconds: int = 300) -> Any:
    """Run a module in mock mode; return the JSON it prints."""
    result = subprocess.run(
        [sys.executable, "-m", f"tests.device.mock.{module}", *arguments],
        cwd=Path(mock["TT_METAL_RUNTIME_ROOT"]).parent,  # ttnn leaves a folder where it runs
        env=mock | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-5000:]
    return json.loads(next(line for line in result.stdout.splitlines() if line.startswith(("{", "["))))


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("name", ["demo", "bitnet-packed", "llama-packed-divide"])
def test_small_models(mock: dict[str, str], name: str, precision: str) -> None:
    config = DEMO if name == "demo" else GOLDEN[name]
    check(run(mock, "measure", json.dumps(config), precision, "128"))


def test_linears_with_norms_of_their_own(mock: dict[str, str]) -> None:
    config = GOLDEN["llama-packed-divide"]
    config = config | {"quantization_config": config["quantization_config"] | {"use_rms_norm": True}}
    facts = run(mock, "measure", json.dumps(config), "fast", "128")
    assert facts["decode_32"]["launches"] > facts["decode_32"]["planned_launches"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_layers_of_2b4t(mock: dict[str, str], precision: str) -> None:
    check(run(mock, "measure", json.dumps(TWO_LAYERS_OF_2B4T), precision, "4096"))


def check(facts: dict[str, Any]) -> None:
    """DRAM and launches as planned, and no new programs once a shape has been seen."""
    assert facts["dram_weights"] == facts["planned_weights"]
    assert facts["dram_cache"] == facts["planned_cache"]
    for sequences in (1, 32):
        step = facts[f"decode_{sequences}"]
        assert step["launches"] == step["planned_launches"]
        assert step["more_programs_later"] == 0
        # Finding the greatest logits takes the place of cutting padding rows off.
        assert step["greedy_launches"] == step["launches"] + (sequences == 32)
    # More sequences need other programs for attention only.
    assert facts["decode_32"]["programs"] - facts["decode_1"]["programs"] < 50


def test_mistakes_are_refused(mock: dict[str, str]) -> None:
    assert run(mock, "mistakes", json.dumps(GOLDEN["bitnet-packed"])) == []


def test_a_second_start_reads_what_the_first_converted(mock: dict[str, str]) -> None:
    facts = run(mock, "restart", json.dumps(GOLDEN["bitnet-packed"]))
    assert facts["first"] == facts["second"] == facts["after_damage"]
    # The layers of an empty model are equal: four products and the head.
    assert len(facts["first"]) == 5
    assert facts["converted"] == [5, 0, 1]
    assert facts["unwritable"] == 4 * GOLDEN["bitnet-packed"]["num_hidden_layers"] + 1
