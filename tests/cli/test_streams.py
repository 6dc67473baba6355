"""Closed streams, broken pipes, full disks and narrow encodings: one line on standard error, never a traceback."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = "import sys; from bitnet_tt.cli import main; sys.argv[0] = 'bitnet-tt'; main()"
PROGRAM = shlex.join([sys.executable, "-c", COMMAND])


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, in which CLI is the program. The exit code is that of CLI, in a pipe too."""
    script = f'set -o pipefail; CLI() {{ {PROGRAM} "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script], capture_output=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("command", ["generate Hi -n 2", "generate Hi -n 2 --json", "info demo", "--help", "--version"])
def test_closed_standard_output_is_one_line(command: str) -> None:
    result = shell(f"CLI {command} >&-")
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: standard output is closed")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", ["generate -", "chat"])
def test_closed_standard_input_is_one_line(command: str) -> None:
    result = shell(f"CLI {command} <&-")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"error: standard input is closed")
    assert result.stderr.count(b"\n") == 1


def test_streams_that_a_command_does_not_use_may_be_closed(tmp_path: Path) -> None:
    assert shell(f"CLI convert demo {tmp_path}/copy --to packed >&- <&-").returncode == 0
    result = shell("CLI generate Hi -n 2 2>&- <&-")
    assert (result.returncode, result.stdout) == (0, shell("CLI generate Hi -n 2").stdout)


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [("CLI generate - <&- 2>&-", 1), ("CLI nonsense <&- >&- 2>&-", 2), ("CLI generate Hi -m nope 2>/dev/full", 1)],
)
def test_without_standard_error_the_exit_code_remains(line: str, exit_code: int) -> None:
    result = shell(line)
    assert (result.returncode, result.stdout, result.stderr) == (exit_code, b"", b"")


@pytest.mark.parametrize("command", ["generate Hi -n 2", "info demo", "--help"])
def test_a_full_disk_is_one_line(command: str) -> None:
    result = shell(f"CLI {command} >/dev/full")
    assert (result.returncode, result.stderr) == (1, b"error: No space left on device\n")


@pytest.mark.parametrize("command", ["generate Hi", "info demo", "--help"])
def test_a_reader_that_goes_away_ends_the_program_silently(command: str) -> None:
    result = shell(f"CLI {command} | true")
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-16", "utf-8"])
@pytest.mark.parametrize("command", ["generate Hé… -n 2 --json", "info demo", "plan demo", "--help"])
def test_every_encoding_of_a_terminal_works(command: str, encoding: str) -> None:
    result = shell(f"CLI {command}", PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    # Click takes ASCII for a missing locale, and writes UTF-8 then.
    text = result.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    if "--json" in command:
        assert json.loads(text)["prompt"] == "Hé…"


def test_characters_that_the_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "é…").symlink_to(Path(__file__).parents[2] / "src/bitnet_tt/assets/demo")
    result = shell(f"CLI info {tmp_path}/é…", PYTHONIOENCODING="latin-1", COLUMNS="200")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"\xe9\\u2026" in result.stdout


def test_input_in_another_encoding_names_the_encoding() -> None:
    result = shell("echo é | CLI generate -", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (1, b"error: the input is not ASCII text\n")


def test_an_unknown_user_in_a_path_is_one_line() -> None:
    for command in ("generate Hi -m", "info"):
        result = shell(f"CLI {command} '~no-such-user/x'")
        assert result.returncode == 1
        assert b"no home folder for ~no-such-user" in result.stderr
        assert result.stderr.count(b"\n") == 1


NOISY = """
import os, sys, atexit
from bitnet_tt.cli.streams import separate_output
print("ours 1")
separate_output()
separate_output()
os.write(1, b"theirs\\n")
print("ours 2 \u20ac")
atexit.register(os.write, 1, b"theirs at exit\\n")
"""


def test_what_libraries_print_goes_to_standard_error() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    result = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, env=environment, check=True)
    assert result.stdout.decode() == "ours 1\nours 2 €\n"
    assert result.stderr == b"theirs\ntheirs at exit\n"
