"""On a terminal, chat has line editing, generate shows the prompt, and slow work shows a progress bar."""

import codecs
import io
import os
import pty
import select
import signal
import sys
import time

import pytest

from bitnet_tt.cli.progress import progress_bar

COMMAND = "import sys; from bitnet_tt.cli import main; sys.argv[0] = 'bitnet-tt'; main()"


def on_terminal(
    arguments: list[str], typed: list[tuple[str, str]], environment: dict[str, str] | None = None
) -> tuple[str, int]:
    """Run a command on a pseudo-terminal.

    Args:
        arguments: Arguments of `bitnet-tt`.
        typed: Pairs of a text to wait for in the output since the last keys, and the keys to type then.
        environment: Environment variables to set; by default a dumb terminal.

    Returns:
        The output of the terminal, and the exit code.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.execve(
            sys.executable, [sys.executable, "-c", COMMAND, *arguments], os.environ | (environment or {"TERM": "dumb"})
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    output, seen, waiting = "", 0, list(typed)
    while select.select([terminal], [], [], 60)[0]:
        try:
            output += decoder.decode(os.read(terminal, 4096))
        except OSError:  # the child closed its end
            break
        if waiting and waiting[0][0] in output[seen:]:
            # Python's input() can miss a Ctrl-C that comes after it prints the prompt and before it waits for keys.
            time.sleep(0.2)
            seen = len(output)
            os.write(terminal, waiting.pop(0)[1].encode())
    else:
        os.kill(child, signal.SIGKILL)
    return output, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_chat_continues_after_errors_and_ctrl_c_until_ctrl_d() -> None:
    prompt = "\n> "
    typed = [
        (prompt, "/save /no/such/folder/a\r"),
        (prompt, "half a mess"),
        ("half a mess", "\x03"),
        (prompt, "What is the capital of France?\r"),
        (prompt, "\x04"),
    ]
    output, exit_code = on_terminal(["chat"], typed)
    assert exit_code == 0
    assert "demo on cpu" in output
    assert "error: /no/such/folder/a: No such file or directory" in output
    assert "(Ctrl-D or /exit ends the chat)" in output
    assert "Paris" in output


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_generate_shows_the_prompt_before_its_continuation() -> None:
    output, exit_code = on_terminal(["generate", "Once upon a time", "-n", "5"], [])
    assert exit_code == 0
    assert "Once upon a time" in output


PLAIN = ({"TERM": "dumb"}, {"TERM": "xterm-256color", "NO_COLOR": "1"})


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("environment", PLAIN)
@pytest.mark.parametrize(
    "arguments",
    [["generate", "Hi", "-n", "2"], ["info", "demo"], ["plan", "demo"], ["--help"], ["chat", "--help"], ["nonsense"]],
)
def test_plain_terminals_get_no_escape_codes(arguments: list[str], environment: dict[str, str]) -> None:
    assert "\x1b" not in on_terminal(arguments, [], environment)[0]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("environment", PLAIN)
def test_chat_on_a_plain_terminal_writes_no_escape_codes(environment: dict[str, str]) -> None:
    output, exit_code = on_terminal(["chat", "-n", "2"], [("> ", "Hi\r"), ("> ", "\x04")], environment)
    assert exit_code == 0
    assert "\x1b" not in output


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_other_terminals_get_a_dim_prompt() -> None:
    assert "\x1b[2mHi\x1b[0m" in on_terminal(["generate", "Hi", "-n", "2"], [], {"TERM": "xterm", "NO_COLOR": ""})[0]


@pytest.mark.parametrize("environment", PLAIN)
def test_progress_on_a_plain_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("Counting", patience=0) as progress:
        progress(1, 2)
        progress(2, 2)
    assert sys.stderr.getvalue() == "Counting ...\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_progress_is_shown_on_terminals_only(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("Counting", patience=0) as progress:
        progress(1, 2)
    assert ("Counting" in stream.getvalue()) is shown


def test_quick_work_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("Counting") as progress:
        progress(1, 2)
    assert sys.stderr.getvalue() == ""
