"""Every command has help with examples; errors are one line with a documented exit code."""

import subprocess
import sys

import pytest

from bitnet_tt.cli import options

COMMANDS = ("generate", "chat", "serve", "info", "convert", "export", "self-test", "bench", "plan", "doctor", "scale")


def test_alone_it_prints_help(run) -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout == run("--help").stdout
    for command in COMMANDS:
        assert command in result.stdout


@pytest.mark.parametrize("command", [*COMMANDS[:-1], "scale frontend", "scale worker", "scale status"])
def test_help_fits_80_columns_and_has_examples(run, command: str) -> None:
    text = run(*command.split(), "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert f"bitnet-tt {command}" in text


def test_a_similar_command_is_suggested(run) -> None:
    assert "Did you mean 'generate'" in run("generat").stderr


def test_version(run) -> None:
    assert run("--version").stdout.startswith("bitnet-tt 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate"],
        ["generate", "x", "--temperature", "-1"],
        ["generate", "x", "--top-p", "0"],
        ["generate", "x", "--device", "gpu"],
        ["generate", "x", "--logprobs", "1"],
        ["serve", "--port", "x"],
        ["convert", "demo", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "x", "--model", "/no/such/model"], "/no/such/model"),
        (["generate", "x", "--isa", "avx9"], "avx9"),
        (["generate", "x", "--device", "tt"], "ttnn"),
        (["generate", "x", "--context", "1000000"], "context_length"),
        (["info", "/no/such/model"], "/no/such/model"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_ctrl_c_while_loading_is_exit_code_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(options, "progress_bar", interrupt)
    result = run("generate", "x")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_the_installed_command_works() -> None:
    code = "from bitnet_tt.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("bitnet-tt ")
