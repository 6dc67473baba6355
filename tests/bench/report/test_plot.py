"""A picture shows speeds and limits; what prevents drawing it is reported before anything is measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bitnet_tt.bench.report import plot
from bitnet_tt.errors import BenchmarkError
from tests.bench.small import RESULT


def test_it_is_drawn_in_the_format_of_its_ending(tmp_path: Path) -> None:
    target = tmp_path / "bench.svg"
    plot.check(target)
    plot.plot("small", RESULT, target)
    drawn = target.read_text()
    for text in ("2 threads", "read limit", "int8 limit", "generation after 128", "prompt of 512"):
        assert f"<!-- {text} -->" in drawn


def test_unknown_endings_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"must end in the name of a picture format: .*png"):
        plot.check(tmp_path / "bench.docx")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    with pytest.raises(BenchmarkError, match=r"extra \[bench\]"):
        plot.check(tmp_path / "bench.png")
