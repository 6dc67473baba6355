"""The tables for people, from a result that is given."""

from __future__ import annotations

from dataclasses import replace

from bitnet_tt.bench.report.published import reported
from bitnet_tt.bench.report.results import Memory
from bitnet_tt.bench.report.tables import Table, tables
from bitnet_tt.bench.synthetic import synthetic_config
from tests.bench.small import RESULT, SHAPE


def rows(result: list[Table], title: str) -> list[tuple[str, ...]]:
    (found,) = (table for table in result if table.title.startswith(title))
    assert all(len(row) == len(found.headings) for row in found.rows)
    return [tuple(row) for row in found.rows]


def test_speeds_stand_beside_their_limits() -> None:
    shown = list(tables(RESULT))
    assert rows(shown, "What the machine") == [("2", "20.0 (19.0 to 21.0)", "400.0 (390.0 to 410.0)")]
    assert rows(shown, "Prompt of 512") == [("2", "50.0 (40.0 to 60.0)", "50%", "-")]
    assert rows(shown, "Generation of 64 after 128")[0] == (
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
    assert ("of it", parts) in next(tables(RESULT)).rows
    assert ("in the file", "400.0 MB of the weights: single rows are read") in next(tables(RESULT)).rows


def test_a_model_smaller_than_python_is_no_measure_of_memory() -> None:
    small = replace(RESULT, memory=Memory(60_000_000, 2_000_000, 0, 0, 700_000, 50_000_000))
    rows = next(tables(small)).rows
    assert ("Peak memory", "60.0 MB") in rows
    assert "in the file" not in dict(rows)
    assert ("of it", "weights 2.0, KV cache 0.7, Python 50.0 MB") in rows


def test_energy_is_shown_where_it_was_measured() -> None:
    measured = replace(RESULT, decode=tuple(replace(speed, joules_per_token=0.25) for speed in RESULT.decode))
    assert rows(list(tables(measured)), "Generation")[0][-1] == "0.250"


def test_busy_processes_leave_a_share() -> None:
    assert [row[-1] for row in rows(list(tables(RESULT)), "Tokens/s alone and beside 1 busy process")] == ["50%", "40%"]


def test_a_peer_stands_beside_the_same_setting() -> None:
    assert rows(list(tables(RESULT)), "Beside peer 1.2 (TQ2_0)") == [
        ("prompt", "2", "1", "50.0", "25.0", "2.00", "-", "0.90"),
        ("generation", "2", "1", "10.0", "4.0", "2.50", "16%", "0.90"),
    ]


def test_the_profile_is_shown_if_asked_for_and_adds_up() -> None:
    assert not [table for table in tables(RESULT) if table.title.startswith("A step")]
    assert rows(list(tables(RESULT, profile=True)), "A step of 1, 2 threads") == [
        ("attend", "20.000", "25%", "50%", "400.0", "20.0"),
        ("logits", "60.000", "75%", "0%", "600.0", "10.0"),
        ("all", "80.000", "", "", "1,000.0", "12.5"),
    ]


def test_what_others_report_is_marked_and_stands_beside_2b4t_alone() -> None:
    assert reported(synthetic_config(SHAPE)) == ()
    result = replace(RESULT, reported=reported(synthetic_config("2b4t")))
    (table,) = (table for table in tables(result) if table.title.startswith("Beside what"))
    assert table.rows[0] == ("Here", "0.50", "100.0", "-")
    assert table.rows[1] == ("BitNet b1.58 2B4T", "0.4", "29", "0.028")
    assert "reported, other hardware" in table.note
    assert "estimated from operation counts" in table.note
