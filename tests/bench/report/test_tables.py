"""The tables show each speed with its share of the limits, and mark figures that were not measured here."""

from __future__ import annotations

from dataclasses import asdict, replace

from bitnet_tt.bench.report.published import published_figures
from bitnet_tt.bench.report.results import CardPower, CardReport, Memory
from bitnet_tt.bench.report.table import Table
from bitnet_tt.bench.report.tables import tables
from bitnet_tt.bench.synthetic import synthetic_config
from tests.bench.small import RESULT, SHAPE


def rows(result: list[Table], title: str) -> list[tuple[str, ...]]:
    (found,) = (table for table in result if table.title.startswith(title))
    assert all(len(row) == len(found.headings) for row in found.rows)
    return [tuple(row) for row in found.rows]


def test_speeds_have_shares_of_their_limits() -> None:
    shown = list(tables(RESULT))
    assert rows(shown, "Limits of this machine") == [("2", "20.0 (19.0 to 21.0)", "400.0 (390.0 to 410.0)")]
    assert rows(shown, "Prompt of 512") == [("2", "50.0 (40.0 to 60.0)", "50%", "-")]
    assert rows(shown, "Generation of 64 tokens after 128")[0] == (
        "2",
        "1",
        "10.0 (9.0 to 11.0)",
        "1,000.0",
        "50%",
        "10%",
        "1.5%",
        "-",
    )


def test_the_peak_of_memory_is_explained() -> None:
    assert ("Peak memory", "1.50 GB, 1.20 times the weights in use") in next(tables(RESULT)).rows
    parts = "weights 0.60, lm_head's screen 0.25, KV cache 0.09, Python 0.05 GB"
    assert ("consists of", parts) in next(tables(RESULT)).rows
    assert ("in the file", "400.0 MB of the weights, read row by row") in next(tables(RESULT)).rows


def test_the_memory_of_a_model_smaller_than_python_has_no_ratio() -> None:
    small = replace(RESULT, memory=Memory(60_000_000, 2_000_000, 0, 0, 700_000, 50_000_000))
    rows = next(tables(small)).rows
    assert ("Peak memory", "60.0 MB") in rows
    assert "in the file" not in dict(rows)
    assert ("consists of", "weights 2.0, KV cache 0.7, Python 50.0 MB") in rows


def test_measured_energy_is_shown() -> None:
    measured = replace(RESULT, decode=tuple(replace(speed, joules_per_token=0.25) for speed in RESULT.decode))
    assert rows(list(tables(measured)), "Generation")[0][-1] == "0.250"


def test_the_share_beside_busy_processes_is_shown() -> None:
    assert [row[-1] for row in rows(list(tables(RESULT)), "Tokens/s alone and beside 1 busy process")] == ["50%", "40%"]


def test_sampling_is_shown_beside_greedy_picks() -> None:
    shown = rows(list(tables(RESULT)), "Sampling settings, one text, medians over the steps")
    assert shown[1] == ("temperature 1", "2", "6.00", "0.75", "0.2%")
    assert not any("Sampling" in table.title for table in tables(replace(RESULT, sampling=())))


def test_steps_with_several_rows_are_multiples_of_one_row() -> None:
    headings = ("Threads", "Context", "ms", "2 of one", "4 of one", "2 texts", "4 texts")
    (table,) = (table for table in tables(RESULT) if table.title.startswith("Time of a step with several rows"))
    assert tuple(table.headings) == headings
    assert list(table.rows) == [("2", "128", "20.00", "1.25", "1.50", "1.30", "1.70")]


def test_stalls_are_shown_beside_a_step_without_the_prompt() -> None:
    shown = rows(list(tables(RESULT)), "Texts after 128 tokens while a prompt of 512 is read")
    assert shown == [("2", "8", "100.0", "150.0", "1.50", "250.0", "4.00")]


def test_the_start_is_shown_with_its_parts() -> None:
    shown = rows(list(tables(RESULT)), "Start of the program to the first token, prompt of 16")
    assert shown == [("2", "1.50 (1.40 to 1.70)", "0.30", "0.80", "0.50", "0.20", "0.40")]


def test_the_profile_is_shown_on_request_and_adds_up() -> None:
    assert not [table for table in tables(RESULT) if table.title.startswith("Decode step")]
    assert rows(list(tables(RESULT, profile=True)), "Decode step, batch 1, 2 threads") == [
        ("attend", "20.000", "25%", "50%", "400.0", "20.0"),
        ("logits", "60.000", "75%", "0%", "600.0", "10.0"),
        ("all", "80.000", "", "", "1,000.0", "12.5"),
    ]


def test_published_figures_are_marked_and_shown_for_2b4t_only() -> None:
    assert published_figures(synthetic_config(SHAPE)) == ()
    result = replace(RESULT, reported=published_figures(synthetic_config("2b4t")))
    (table,) = (table for table in tables(result) if table.title.startswith("Compared with the figures"))
    assert table.rows[0] == ("This machine", "0.50", "100.0", "-", "-")
    assert table.rows[1] == ("BitNet b1.58 2B4T", "0.4", "29", "-", "0.028")
    assert "reported, other hardware" in table.note
    assert "0.4 GB is 2.084e9 weights times 1.58 bits" in table.note
    assert "shows 50 ms for 2B4T" in table.note


def test_no_estimated_energy_stands_among_measured_ones() -> None:
    measured = tuple(replace(speed, joules_per_token=0.25) for speed in RESULT.decode)
    result = replace(RESULT, decode=measured, reported=published_figures(synthetic_config("2b4t")))
    (table,) = (table for table in tables(result) if table.title.startswith("Compared with the figures"))
    assert list(table.headings)[-2:] == ["J/token", "estimated J/512 tokens"]
    assert [row[-2] for row in table.rows] == ["0.250"] + 6 * ["-"]
    assert [row[-1] for row in table.rows] == ["-", "0.028", "0.258", "0.186", "0.347", "0.425", "0.649"]
    assert "not measured and not per token" in table.note
    assert {name for name in asdict(result)["reported"][0] if "joules" in name} == {"arithmetic_joules_per_512_tokens"}


def test_a_card_is_described_with_its_power() -> None:
    power = CardPower(8, 5, 92.4, None, 1350.0, 12.345, None)
    card = CardReport({"ttnn": "0.81.1", "firmware": "19.4.1.0"}, ("p150a",), 150.0, None, (power,), "sampled")
    shown = list(tables(replace(RESULT, card=card)))
    assert rows(shown, "Power of the card") == [("8", "5", "92", "-", "1350", "12.35", "-")]
    about = next(list(table.rows) for table in shown if ("board", "p150a") in table.rows)
    for row in (("ttnn", "0.81.1"), ("firmware", "19.4.1.0"), ("TDP limit", "150 W"), ("board limit", "-")):
        assert row in about
    unknown = list(tables(replace(RESULT, card=replace(card, power=(), note="not available: why"))))
    assert any(("power", "not available: why") in table.rows for table in unknown)
    assert not any(table.title.startswith("Power") for table in unknown)
