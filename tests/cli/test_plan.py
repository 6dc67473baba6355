"""`bitnet-tt plan` prints the cost of decode steps as tables and JSON, for real and for random models."""

import json

import pytest

from bitnet_tt.backends.tt.planning.cost import decode_cost
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.cli import plan
from tests import golden_checkpoints
from tests.backends.tt.planning.plans import PLAN_2B4T

GOLDEN = str(golden_checkpoints.FOLDER / "bitnet-packed")


@pytest.fixture(autouse=True)
def no_ttnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan for the same grid on every machine."""
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda _: None)


def test_the_command_prints_tables_and_json(run) -> None:
    text = run("plan", "--synthetic", "2b4t").stdout
    assert max(map(len, text.splitlines())) <= 80
    for name in (
        "qkv",
        "gate_up",
        "attention",
        "lm_head",
        "not a measurement",
        "smallest grid of a p150",
        "stock bfp4",
    ):
        assert name in " ".join(text.split())
    facts = json.loads(run("plan", GOLDEN, "--precision", "exact", "--context", "200", "--json").stdout)
    assert facts["launches"] > decode_cost(PLAN_2B4T, 1, 128).launches / PLAN_2B4T.config.num_hidden_layers
    assert facts["grid"]["x"] * facts["grid"]["y"] == SMALLEST_P150.cores
    assert [layout["ternary_weights"] for layout in facts["layouts"]] == [
        "codes, 2 bits",
        "bfp2, 2.5 bits",
        "stock bfp4, 4.5 bits",
    ]
    # 4096 positions are more than the golden checkpoint has.
    assert [(bound["batch"], bound["context"]) for bound in facts["bounds"]] == [
        (1, 200),
        (1, 128),
        (8, 128),
        (32, 128),
    ]


def test_chains_of_cards_stand_beside_copies(run) -> None:
    text = run("plan", "--synthetic", "2b4t", "--batch", "32", "--context", "4096", "--cards", "8").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "Cards in a chain that share the layers, batch 32, context 4096" in text
    facts = json.loads(run("plan", "--synthetic", "2b4t", "--cards", "3", "--json").stdout)
    assert [chain["cards"] for chain in facts["chains"]] == [1, 2, 3, 4]
    assert facts["chains"][2]["layers"] == [10, 10, 10]
    assert "Cards in a chain" not in run("plan", "--synthetic", "2b4t").stdout
    result = run("plan", GOLDEN, "--cards", "8")
    assert result.exit_code == 1
    assert "cards is 8, but the model has 3 layers to share" in result.stderr


def test_two_cards_can_share_every_matrix(run) -> None:
    options = ("plan", "--synthetic", "2b4t", "--context", "4096", "--cards", "2", "--tensor-parallel")
    text = run(*options).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "Two cards that share every matrix (tensor parallel), batch 1, context 4096" in text
    assert "Cards in a chain" not in text
    facts = json.loads(run(*options, "--json").stdout)
    assert facts["tensor_parallel"]["exchanges"] == 4 * 30 + 1
    assert len(facts["tensor_parallel"]["weight_bytes"]) == 2
    assert [one["batch"] for one in facts["two_cards"]] == [1, 2, 4, 8, 16, 32]
    assert facts["two_cards"][0]["fastest"] == "tensor_parallel"
    result = run("plan", "--synthetic", "2b4t", "--tensor-parallel")
    assert result.exit_code == 1
    assert "cards is 1; tensor parallelism works on 2 cards" in result.stderr


def test_a_synthetic_shape_can_have_other_sizes(run) -> None:
    facts = json.loads(run("plan", "--synthetic", "2b4t,layers=4", "--json").stdout)
    assert {cost["count"] for cost in facts["costs"]} == {1, 4}
    result = run("plan", "--synthetic", "3b")
    assert result.exit_code == 1
    assert "unknown shape '3b'" in result.stderr


def test_the_form_of_the_weights_is_an_option(run) -> None:
    codes, bfp2 = (
        json.loads(run("plan", "--synthetic", "2b4t", "--ternary-tiles", form, "--json").stdout)
        for form in ("codes", "bfp2")
    )
    assert codes["seconds"] < bfp2["seconds"] == codes["layouts"][1]["seconds"]


def test_a_cache_too_large_for_the_card_is_refused(run) -> None:
    result = run("plan", GOLDEN, "--batch", "32", "--context", "10000000")
    assert result.exit_code == 1
    assert "ask for a smaller context_length" in " ".join(result.stderr.split())
