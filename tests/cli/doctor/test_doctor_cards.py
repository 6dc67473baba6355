"""The doctor's test of the cables between cards has a time limit, and reports what it found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from bitnet_tt.cli.doctor import cards


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that replaces the test's process by one that runs some Python code."""
    run = subprocess.run

    def replace(code: str) -> None:
        def fake(command: list[str], **options: object) -> object:
            assert command[1:] == ["-m", "bitnet_tt.backends.tt.model.link_test", "2"]
            return run([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

        monkeypatch.setattr(cards.subprocess, "run", fake)

    return replace


def test_working_cables_are_named(answers: Callable[[str], None]) -> None:
    answers("""print('noise'); print('{"links": [[0, 1], [1, 0]], "error": ""}')""")
    check = cards.check_cables(2)
    assert (check.status, check.found) == ("ok", "numbers pass from card 0 to 1, 1 to 0")


def test_an_error_is_reported_with_the_cables_that_work(answers: Callable[[str], None]) -> None:
    answers("""print('{"links": [[0, 1]], "error": "3 of 9 numbers from card 1 to 0 are wrong"}')""")
    check = cards.check_cables(2)
    assert check.status == "warn"
    assert check.found == "3 of 9 numbers from card 1 to 0 are wrong; these work: 0 to 1"


def test_cards_that_do_not_answer_are_reported_in_time(answers: Callable[[str], None]) -> None:
    answers("import time; time.sleep(60)")
    check = cards.check_cables(2, seconds=0.5)
    assert check.status == "warn"
    assert "do not answer within" in check.found


def test_a_crash_is_reported(answers: Callable[[str], None]) -> None:
    answers("raise SystemExit('the driver is gone')")
    check = cards.check_cables(2)
    assert check.status == "warn"
    assert "the driver is gone" in check.found
