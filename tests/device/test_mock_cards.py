"""In ttnn's mock mode, several cards take the memory and launches of the plan, as chains and sharing every matrix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.device.mock.figures import config_of
from tests.device.mock.runtime import command, environment, failure, run

pytest.importorskip("ttnn", reason="the extra tt is not installed")

GRIDS = {2: "1x2", 4: "2x2", 8: "2x4"}


@pytest.mark.parametrize("cards", GRIDS)
def test_each_card_takes_what_the_plan_says(cards: int, tmp_path: Path) -> None:
    check_chain(config_of("demo") | {"num_hidden_layers": 9}, cards, 128, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cards", [4])
def test_each_card_takes_what_the_plan_says_for_2b4t(cards: int, tmp_path: Path) -> None:
    check_chain(config_of("2b4t"), cards, 4096, tmp_path)


@pytest.mark.parametrize("name", ["demo", "bitnet-packed", "llama-packed-divide"])
def test_two_cards_that_share_every_matrix_take_what_the_plan_says(name: str, tmp_path: Path) -> None:
    facts = check_cards(config_of(name), 2, 128, tmp_path, "tensor_parallel")
    assert facts["layers"] == [config_of(name)["num_hidden_layers"]] * 2


@pytest.mark.slow
def test_two_cards_that_share_every_matrix_take_what_the_plan_says_for_2b4t(tmp_path: Path) -> None:
    check_cards(config_of("2b4t"), 2, 4096, tmp_path, "tensor_parallel")


def check_chain(config: dict[str, object], cards: int, context: int, folder: Path) -> None:
    facts = check_cards(config, cards, context, folder)
    assert sum(facts["layers"]) == config["num_hidden_layers"]


def check_cards(config: dict[str, object], cards: int, context: int, folder: Path, *sharing: str) -> dict[str, Any]:
    mock = environment(folder / "root", cards=GRIDS[cards])
    facts: dict[str, Any] = run(mock, "chain", json.dumps(config), str(cards), str(context), *sharing)
    print(json.dumps(facts))
    assert facts["description"] == f"tt ({cards} x blackhole, 110 cores, fast)"
    assert facts["dram_weights"] == facts["planned_weights"]
    assert facts["dram"] == facts["planned"]
    for sequences in (1, 8, 32):
        step = facts[f"decode_{sequences}"]
        assert step["launches"] == [step["planned_launches"]] * 3
        assert step["more_programs"] == 0
    return facts


@pytest.mark.parametrize(
    ("grid", "cards", "error"),
    [
        ("1x2", 4, "4 Tenstorrent cards were asked for, but ttnn finds 2"),
        ("1x2 0-1", 2, "the largest group that is connected by Ethernet has 1; connect the QSFP-DD ports"),
        ("2x2 0-1 2-3", 4, "the largest group that is connected by Ethernet has 2"),
        ("2x2", 8, "cards is 8, but the model has 5 layers to share"),
    ],
)
def test_cards_that_cannot_be_a_chain_are_refused(grid: str, cards: int, error: str, tmp_path: Path) -> None:
    mock = environment(tmp_path / "root", cards=grid)
    assert error in failure(mock, "self-test", "--device", "tt", "--cards", str(cards))


def test_tensor_parallelism_on_four_cards_is_refused(tmp_path: Path) -> None:
    mock = environment(tmp_path / "root", cards="2x2")
    error = failure(mock, "self-test", "--device", "tt", "--cards", "4", "--tensor-parallel")
    assert "tensor parallelism works on 2 cards" in error


def test_the_doctor_finds_a_missing_cable(tmp_path: Path) -> None:
    mock = environment(tmp_path / "root", cards="1x2 0-1")
    checks = {check["name"]: check for check in json.loads(command(mock, "doctor", "--cards", "2", "--json"))["checks"]}
    assert checks["Cables"]["status"] == "warn"
    assert "the largest group that is connected by Ethernet has 1" in checks["Cables"]["found"]


def test_a_chain_can_have_fewer_cards_than_the_machine(tmp_path: Path) -> None:
    mock = environment(tmp_path / "root", cards="2x2")
    facts = run(mock, "chain", json.dumps(config_of("demo")), "3", "128")
    assert facts["dram"] == facts["planned"]


def test_a_chain_can_be_opened_again_while_its_objects_live(tmp_path: Path) -> None:
    """As in `with from_pretrained(...) as model:` twice: the first model lives until the name is bound again."""
    assert run(environment(tmp_path / "root", cards="1x2"), "reopen", "2") == {"opened": 2}


def test_sampled_steps_are_on_several_cards_at_once(tmp_path: Path) -> None:
    """All steps are launched, and the candidates of each are read behind it, before the host waits for the first."""
    mock = environment(tmp_path / "root", cards="1x2")
    facts = run(mock, "sampled", json.dumps(config_of("demo") | {"num_hidden_layers": 9}), "2", "2")
    print(json.dumps(facts))
    for name in ("top-p", "penalties"):
        assert facts[name]["order"] == ["card 0", "card 1", "read", "card 0", "card 1", "read", "wait"]
        # No tokens go back to the first card: a step does not send and receive them.
        assert facts[name]["launches"] == [facts["greedy_launches"] - 2 * 2] * 2
