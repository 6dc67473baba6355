"""Commands that use a device close it however they end, and leave standard output and the working directory clean.

They run in ttnn's mock mode, with a ttnn that prints to standard output as a simulator does.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.device.mock.runtime import ROOT, environment

pytest.importorskip("ttnn", reason="the extra tt is not installed")

NOISE = "[0] 1.4 seconds (0.0 KHz)\n"
LONG = ["--ignore-eos", "-n", "450"]
COMMANDS = {
    "generate": ["generate", "--device", "tt", "Hi", "-n", "4", "--ignore-eos", "--json"],
    "self-test": ["self-test", "--device", "tt", "--json"],
    "plan": ["plan", "--json"],
    "bench": ["bench", "--device", "tt", "--json", "--prompt-length", "8", "--new-tokens", "2", "--repeats", "1"],
}


class Program:
    """bitnet-tt with a noisy ttnn, in mock mode and in an empty folder of its own."""

    def __init__(self, mock: dict[str, str], tmp_path: Path, arguments: list[str], text: str = "") -> None:
        self.record, self.folder = tmp_path / "record", tmp_path / "folder"
        self.folder.mkdir()
        (tmp_path / "input").write_text(text)
        variables = mock | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "RECORD": str(self.record), "HOME": str(tmp_path)}
        with (tmp_path / "input").open() as given:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.device.mock.noisy", *arguments],
                cwd=self.folder,
                env=variables,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    @property
    def events(self) -> list[str]:
        return self.record.read_text().split() if self.record.exists() else []

    def wait_for(self, event: str) -> None:
        while event not in self.events:
            assert self.process.poll() is None, self.end()
            time.sleep(0.02)

    def end(self) -> tuple[str, str]:
        """Wait until it ends. Return its standard output and standard error."""
        return self.process.communicate(timeout=300)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("ttnn") / "root")


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_all_of_standard_output(mock: dict[str, str], tmp_path: Path, name: str) -> None:
    program = Program(mock, tmp_path, COMMANDS[name])
    output, errors = program.end()
    assert isinstance(json.loads(output), dict)
    assert NOISE in errors
    assert [event for event in program.events if event != "step"] == ["open", "close"]


def test_text_is_all_of_standard_output(mock: dict[str, str], tmp_path: Path) -> None:
    program = Program(mock, tmp_path, ["chat", "--device", "tt", "-n", "3"], text="Hello\nAnd you?\n")
    output, errors = program.end()
    assert (program.process.returncode, NOISE in output, NOISE in errors) == (0, False, True)
    assert program.events == ["open", "step", "close"]


def test_nothing_is_left_behind(mock: dict[str, str], tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    program = Program(mock, tmp_path, COMMANDS["generate"])
    number = program.process.pid
    program.end()
    assert list(program.folder.iterdir()) == []
    new = {path.name for path in set(Path("/dev/shm").iterdir()) - before}  # other programs make files there too
    assert not [name for name in new if str(number * 32) in name or name.startswith("sm_segment")]


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        (["generate", "--device", "tt", "Hi", *LONG], signal.SIGTERM, 143),
        (["generate", "--device", "tt", "Hi", *LONG], signal.SIGHUP, 129),
        (["generate", "--device", "tt", "Hi", *LONG], signal.SIGINT, 130),
        (["chat", "--device", "tt", *LONG], signal.SIGTERM, 143),
        (["bench", "--device", "tt", "--repeats", "1000"], signal.SIGTERM, 143),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_signal_closes_the_device(
    mock: dict[str, str], tmp_path: Path, arguments: list[str], number: signal.Signals, code: int
) -> None:
    program = Program(mock, tmp_path, arguments, text="Hello\n" * 100)
    program.wait_for("step")
    program.process.send_signal(number)
    _, errors = program.end()
    assert "Traceback" not in errors
    assert program.events == ["open", "step", "close"]
    assert program.process.returncode == code


@pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="needs the extra server")
def test_a_server_closes_the_device(mock: dict[str, str], tmp_path: Path) -> None:
    program = Program(mock, tmp_path, ["serve", "--device", "tt", "--port", "0", "--no-warm-up"])
    assert program.process.stdout is not None
    assert program.process.stdout.readline().startswith("Ready: ")
    program.process.send_signal(signal.SIGTERM)
    program.end()
    assert program.process.returncode == 0
    assert program.events[-1] == "close"


@pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="needs the extra server")
def test_a_server_does_not_start_on_a_device_that_computes_wrong(mock: dict[str, str], tmp_path: Path) -> None:
    """All logits are zeros in mock mode."""
    program = Program(mock, tmp_path, ["serve", "--device", "tt", "--port", "0"])
    output, errors = program.end()
    assert (program.process.returncode, output) == (1, "")
    assert "computes wrong" in errors
    assert program.events[-1] == "close"


def test_an_error_closes_the_device(mock: dict[str, str], tmp_path: Path) -> None:
    program = Program(mock, tmp_path, ["generate", "--device", "tt", "word " * 600, "--context", "64"])
    _, errors = program.end()
    assert program.process.returncode == 1
    assert "error: " in errors
    assert program.events == ["open", "close"]
