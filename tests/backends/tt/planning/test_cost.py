"""The cost of a decode step adds up, and `bitnet-tt plan` prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bitnet_tt.backends.tt.planning.cost import PEAK_BANDWIDTH, decode_cost
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.cli import plan
from bitnet_tt.cli.app import app
from tests.backends.tt.planning.plans import PLAN_2B4T

GOLDEN = str(Path(__file__).parents[3] / "golden/bitnet-packed")


def test_a_lone_sequence_is_bound_by_reading_the_weights() -> None:
    facts = decode_cost(PLAN_2B4T, batch=1, context=128)
    products = [
        cost for cost in facts.costs if cost.count == PLAN_2B4T.config.num_hidden_layers and cost.name != "attention"
    ]
    assert {cost.bound for cost in products} == {"DRAM"}
    assert sum(cost.dram_bytes for cost in products) == 2084044800 // 1024 * 576
    assert facts.seconds == pytest.approx(sum(cost.seconds for cost in facts.costs))
    assert facts.tokens_per_second == pytest.approx(1 / facts.seconds)
    assert 466 / 512 <= facts.streamed_tokens_per_second / facts.tokens_per_second < 1
    assert sum(facts.shares.values()) == pytest.approx(1)
    assert facts.binding == ("ternary weights", "DRAM")
    for cost in facts.costs:
        assert cost.seconds == max(cost.dram_bytes / PEAK_BANDWIDTH, cost.math_seconds)
        assert cost.cores <= SMALLEST_P150.cores
        assert cost.l1_bytes is None or cost.l1_bytes <= SMALLEST_P150.l1_bytes


def test_more_sequences_and_more_context_cost_more() -> None:
    small, wide, long = (decode_cost(PLAN_2B4T, *size) for size in ((1, 128), (32, 128), (1, 4096)))
    assert small.tokens_per_second < wide.tokens_per_second
    assert small.seconds < long.seconds
    assert long.cache_bytes == 30 * 2 * 4096 * 640 * 2


def test_what_binds_changes_with_the_context() -> None:
    assert decode_cost(PLAN_2B4T, batch=32, context=4096).binding == ("attention", "DRAM")


@pytest.fixture
def no_ttnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda _: None)


@pytest.mark.usefixtures("no_ttnn")
def test_the_command_prints_tables_and_json() -> None:
    text = CliRunner().invoke(app, ["plan", "--synthetic", "2b4t"]).stdout
    assert max(map(len, text.splitlines())) <= 80
    for name in ("qkv", "gate_up", "attention", "lm_head", "not a measurement", "smallest grid of a p150"):
        assert name in " ".join(text.split())
    arguments = ["plan", GOLDEN, "--precision", "exact", "--context", "200", "--json"]
    facts = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert facts["launches"] > decode_cost(PLAN_2B4T, 1, 128).launches / PLAN_2B4T.config.num_hidden_layers
    assert facts["grid"]["x"] * facts["grid"]["y"] == SMALLEST_P150.cores
    # 4096 positions are more than the golden checkpoint has.
    assert [(bound["batch"], bound["context"]) for bound in facts["bounds"]] == [(1, 200), (1, 128), (32, 128)]


@pytest.mark.usefixtures("no_ttnn")
def test_a_synthetic_shape_can_have_other_sizes() -> None:
    result = CliRunner().invoke(app, ["plan", "--synthetic", "2b4t,layers=4", "--json"])
    assert {cost["count"] for cost in json.loads(result.stdout)["costs"]} == {1, 4}
    result = CliRunner().invoke(app, ["plan", "--synthetic", "3b"])
    assert result.exit_code == 1
    assert "unknown shape '3b'" in result.stderr


@pytest.mark.usefixtures("no_ttnn")
def test_a_cache_too_large_for_the_card_is_refused() -> None:
    result = CliRunner().invoke(app, ["plan", GOLDEN, "--batch", "32", "--context", "10000000"])
    assert result.exit_code == 1
    assert "ask for a smaller context_length" in " ".join(result.stderr.split())
