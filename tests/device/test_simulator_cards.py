"""On a simulator of several chips, a chain of cards has the bits of one card (`Chains`).

Run it with pytest -m simulator and TT_METAL_SIMULATOR set to a simulator of two or more chips.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bitnet_tt.cli.doctor.cards import check_cables
from bitnet_tt.errors import DeviceError
from tests.device.chains import Chains, layers_of, logits_of, with_cards
from tests.device.pairs import Pairs, needs_queues

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
]


class TestChains(Chains):
    """The tests of `Chains`, on a simulator."""


class TestPairs(Pairs):
    """The tests of `Pairs`, on a simulator."""


@pytest.mark.parametrize("sharing", [[], pytest.param(["--tensor-parallel"], marks=needs_queues)], ids=str)
def test_the_self_test_of_the_demo_model_passes(sharing: list[str], cards: int) -> None:
    assert cards >= 2
    command = [sys.executable, "-c", "from bitnet_tt.cli import main; main()", "self-test", "--device", "tt"]
    command += ["--cards", "2", *sharing, "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1200, check=True)
    print(result.stdout)
    # A simulator prints its time behind it.
    printed, _ = json.JSONDecoder().raw_decode(result.stdout)
    assert printed["passed"] is True


@needs_queues
@pytest.mark.parametrize("sharing", ["chain", "tensor_parallel"])
def test_a_card_that_does_not_answer_is_an_error(sharing: str, cards: int) -> None:
    """The step ends after the time limit, and no later step waits again."""
    assert cards >= 2
    command = [sys.executable, "-m", "tests.device.silent_card", "5", sharing]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    errors = json.loads(next(line for line in result.stdout.splitlines() if line.startswith('["')))
    assert len(errors) == 2
    assert "a Tenstorrent card did not answer within 5 s" in errors[0]
    assert "a step failed; load the model again" in errors[1]


@pytest.mark.skipif("TT_METAL_SLOW_DISPATCH_MODE" not in os.environ, reason="for slow dispatch")
def test_tensor_parallelism_is_refused_in_slow_dispatch(cards: int) -> None:
    config, weights = layers_of("bitnet-packed", 1)
    with pytest.raises(DeviceError, match="tensor parallelism needs fast dispatch"):
        with_cards(config, weights, 2, logits_of, tensor_parallel=True)


def test_the_doctor_sends_numbers_over_every_cable(cards: int) -> None:
    check = check_cables(cards, seconds=600)
    assert check.status == "ok", check
    assert check.found.startswith("numbers pass from card 0 to 1")
