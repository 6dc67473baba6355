"""`bitnet-tt chat` answers each line of standard input, remembers the conversation, and obeys its commands."""

import json
from pathlib import Path

import pytest

from bitnet_tt import BitNetModel

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def answer() -> str:
    return BitNetModel.from_pretrained("demo").chat([{"role": "user", "content": QUESTION}])


def test_each_line_gets_an_answer(run, answer: str) -> None:
    result = run("chat", stdin=f"{QUESTION}\n\n/exit\n{QUESTION}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, answer + "\n", "")


def test_it_remembers_until_told_to_forget(run, tmp_path: Path) -> None:
    lines = [
        QUESTION,
        "Thank you!",
        f"/save {tmp_path}/a",
        "/clear",
        "/system Be kind.",
        QUESTION,
        f"/save {tmp_path}/b",
    ]
    result = run("chat", "--system", "Be brief.", stdin="\n".join(lines))
    assert result.exit_code == 0
    first, second = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert [message["role"] for message in first] == ["system", "user", "assistant", "user", "assistant"]
    assert [message["content"] for message in second[:2]] == ["Be kind.", QUESTION]
    assert result.stderr.splitlines() == [
        f"Saved 5 messages to {tmp_path}/a.",
        "Forgotten.",
        "System message set.",
        f"Saved 3 messages to {tmp_path}/b.",
    ]


def test_retry_answers_the_same_question_again(run, answer: str, tmp_path: Path) -> None:
    result = run("chat", stdin=f"/retry\n{QUESTION}\n/retry\n/save {tmp_path}/a\n")
    assert result.stdout == f"{answer}\n{answer}\n"
    assert "There is no answer yet." in result.stderr
    assert len(json.loads((tmp_path / "a").read_text())) == 2


def test_stats_and_help(run) -> None:
    result = run("chat", "-n", "3", stdin=f"/stats\n/help\n{QUESTION}\n/stats\n/save\n/system\n/dance\n")
    assert result.stdout.startswith("/system TEXT")
    for text in ("no answer yet", "tokens/s", "Which file?", "System message removed", "no command /dance"):
        assert text in result.stderr


def test_ctrl_c_stops_an_answer_and_keeps_it(run, interrupted, tmp_path: Path) -> None:
    interrupted(3)
    result = run("chat", stdin=f"{QUESTION}\n/save {tmp_path}/a\nThank you!\n")
    assert result.exit_code == 0
    saved = json.loads((tmp_path / "a").read_text())
    assert saved[1]["content"] == result.stdout.splitlines()[0] != ""
    assert "[stopped]" in result.stderr


def test_files_are_not_overwritten(run, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    result = run("chat", stdin=f"/save {tmp_path}/a\n")
    assert (result.exit_code, result.stderr) == (1, f"error: {tmp_path}/a: File exists\n")
    assert (tmp_path / "a").read_text() == "precious"


def test_stats_after_ctrl_c_are_those_of_the_stopped_answer(run, interrupted) -> None:
    interrupted(3)
    result = run("chat", stdin=f"{QUESTION}\n/stats\n")
    assert result.exit_code == 0
    assert "generated 3 tokens at " in result.stderr
    interrupted(0)
    result = run("chat", stdin=f"{QUESTION}\n/stats\n")
    assert "tokens, stopped before the first token" in result.stderr


def test_a_bad_line_does_not_end_the_chat(run, answer: str, tmp_path: Path) -> None:
    bad = [b"word " * 400, b"caf\xe9", f"/save {tmp_path}/no/a".encode(), b"/system caf\xe9"]
    for line in bad:
        result = run("chat", stdin=line + f"\n{QUESTION}\n".encode())
        assert (result.exit_code, result.stdout) == (1, answer + "\n")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    result = run("chat", stdin=b"\n".join([*bad, QUESTION.encode(), b"/exit", b"\xff"]))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, answer + "\n", len(bad))
    assert "the line is not UTF-8 text" in result.stderr


def test_a_full_context_says_so(run) -> None:
    result = run("chat", "--context", "32", stdin="word " * 40)
    assert result.exit_code == 1
    assert "/clear starts a new conversation" in result.stderr
