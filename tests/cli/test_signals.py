"""SIGTERM and SIGHUP end the program as Ctrl-C does: no half-written file stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_streams import COMMAND


def convert(target: Path, *, prefix: str = "") -> subprocess.Popen[bytes]:
    """Start to convert the demo model; return when the file is being written."""
    code = f"{SLOW}{prefix}{COMMAND}"
    arguments = ["convert", "demo", str(target), "--to", "packed"]
    program = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE)
    while not list(target.parent.glob(".*.partial/new/*")):
        assert program.poll() is None
        time.sleep(0.01)
    return program


SLOW = """
import time
from bitnet_tt.formats import array_writer
class Slow(array_writer.ArrayWriter):
    def write(self, array):
        time.sleep(0.02)
        super().write(array)
from bitnet_tt.formats import safetensors
safetensors.ArrayWriter = Slow
"""
"""Makes writing slow enough to interrupt it."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_partial_file(tmp_path: Path, number: signal.Signals) -> None:
    program = convert(tmp_path / "out")
    program.send_signal(number)
    _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (128 + number, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_interrupt_the_cleaning_up(tmp_path: Path) -> None:
    program = convert(tmp_path / "out")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        program.send_signal(number)
    program.communicate(timeout=60)
    assert program.returncode in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    program = convert(tmp_path / "out", prefix=ignore)
    program.send_signal(signal.SIGHUP)
    program.communicate(timeout=60)
    assert program.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_convert_deletes_what_a_killed_one_left(tmp_path: Path) -> None:
    program = convert(tmp_path / "out")
    program.kill()
    program.communicate()
    assert len(list(tmp_path.iterdir())) == 1
    convert(tmp_path / "out").communicate(timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_generating_ends_too() -> None:
    code = f"import sys; sys.argv = ['bitnet-tt', 'generate', 'Hi', '--ignore-eos', '-n', '500']; {COMMAND}"
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.read(1)
    program.terminate()
    _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (128 + signal.SIGTERM, b"")
