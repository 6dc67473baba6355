"""In ttnn's mock mode, all operations pass ttnn's checks at real shapes, and take the memory and launches we expect.

Mock mode needs no card and computes no numbers. Each group of checks is a process of its own: a mistake may crash it.
"""

from __future__ import annotations

import json

import pytest

from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.planning.plan import PRECISIONS
from tests.device.mock.figures import CONTEXTS, FILE, config_of, figures, measure
from tests.device.mock.runtime import command, environment, run

pytest.importorskip("ttnn", reason="the extra tt is not installed")

GOLDEN = json.loads(FILE.read_text())
MODELS = [(name, precision) for name in CONTEXTS for precision in PRECISIONS]
MARKS = {("2b4t", "fast"): pytest.mark.slow, ("2b4t", "exact"): pytest.mark.minutes}
"""2B4T's operations are checked at both precisions, all of its layers at the default."""


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("ttnn") / "root")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["demo", "bitnet-packed", "2b4t"])
def test_operations_keep_their_contracts(mock: dict[str, str], name: str, precision: Precision) -> None:
    assert run(mock, "contracts", json.dumps(config_of(name)), precision) == []


@pytest.mark.parametrize(("name", "precision"), [pytest.param(*one, marks=MARKS.get(one, ())) for one in MODELS])
def test_steps_of_whole_models(mock: dict[str, str], name: str, precision: Precision) -> None:
    """DRAM and launches are as planned, a shape makes new programs only once, and all figures are the golden ones."""
    facts = measure(mock, name, precision)
    print(json.dumps(facts))
    assert facts["dram_weights"] == facts["planned_weights"]
    assert facts["dram_cache"] == facts["planned_cache"]
    for sequences in (1, 8, 32):
        step = facts[f"decode_{sequences}"]
        assert step["launches"] == step["greedy_launches"] == step["planned_launches"]
        assert step["more_programs_later"] == 0
    changed = "figures changed; if this is intended, run python -m tests.device.mock.figures"
    assert figures(facts) == GOLDEN[name][precision], changed


def test_linears_with_norms_of_their_own_take_more_launches(mock: dict[str, str]) -> None:
    config = config_of("llama-packed-divide")
    config = config | {"quantization_config": config["quantization_config"] | {"use_rms_norm": True}}
    facts = run(mock, "measure", json.dumps(config), "fast", "128")
    assert facts["decode_32"]["launches"] > facts["decode_32"]["planned_launches"]


def test_the_engine_steps_on_a_thread_of_its_own(mock: dict[str, str]) -> None:
    """Another thread loaded the model. Streams of threads and tasks, scores and masks go through the engine."""
    engine = ["bitnet-tt engine"]
    assert run(mock, "engine") == {"tokens": [3, 39, 3, 3, 3], "step": engine, "close": engine}


def test_64_steps_of_an_unchanged_batch_copy_only_new_blocks_to_the_device(mock: dict[str, str]) -> None:
    facts = run(mock, "copies")
    print(facts)
    # Two prompts are 10 new tensors. Then both join the first decode step at position 4, and enter blocks at 32 and 64.
    assert facts == {"steps": 65, "copies": [[0, 10], [1, 1], [29, 1], [61, 1]]}


def test_mistakes_are_refused(mock: dict[str, str]) -> None:
    assert run(mock, "mistakes", json.dumps(config_of("bitnet-packed"))) == []


def test_a_second_start_reads_the_weights_that_the_first_converted(mock: dict[str, str]) -> None:
    config = config_of("bitnet-packed")
    facts = run(mock, "restart", json.dumps(config))
    assert facts["first"] == facts["second"] == facts["after_damage"]
    # The layers of an empty model are equal: four products and the head.
    assert len(facts["first"]) == 5
    assert facts["converted"] == [5, 0, 1]
    assert facts["unwritable"] == 4 * config["num_hidden_layers"] + 1


def test_after_the_warm_up_no_text_makes_a_program(mock: dict[str, str]) -> None:
    facts = run(mock, "warm")
    print(facts)
    assert facts["warm_up"] > 0
    assert facts["later"] == 0


def test_the_plan_is_for_the_device_of_this_machine(mock: dict[str, str]) -> None:
    facts = json.loads(command(mock, "plan", "--json"))
    assert facts["grid"]["x"] * facts["grid"]["y"] == 110
    assert facts["grid_of"] == "what tt (blackhole, 110 cores) shows"
