"""Every example of docs/python.md runs, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/python.md"


def test_every_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # an example saves a model
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) >= 7
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
    assert "tokens/s" in capsys.readouterr().out
    assert names["first"] != names["second"]
    assert (tmp_path / "my-model/config.json").exists()
