"""Weights in a mapped file are checked while Python does something else, and no damage is missed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt._native import BackgroundChecks
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.packing import pack
from bitnet_tt.errors import CheckpointError
from tests.checkpoint import small

UP_PROJ, EMBEDDING = "model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"
LARGE = 40_000_003
"""Bytes of an array that is checked in three pieces."""


@pytest.fixture
def no_thread_switches() -> Iterator[None]:
    """Keep Python's lock in this thread, as a library does that reads a tokenizer."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def test_checks_need_no_lock_of_python(no_thread_switches: None) -> None:
    checks = BackgroundChecks([np.zeros(LARGE, np.uint8)], [np.zeros(100, np.uint8)], 2)
    while checks.done_bytes < LARGE + 100:
        pass
    assert checks.wait(0)


@pytest.mark.parametrize("place", [0, LARGE // 2, LARGE - 1])
def test_each_piece_is_checked(place: int) -> None:
    codes = small.random_codes((4, LARGE // 8))
    packed, values = np.resize(pack(codes).reshape(-1), LARGE), np.zeros(LARGE + 1, np.uint8)
    checks = BackgroundChecks([packed, packed[:1000]], [values], 2)
    (all_counts, some_counts), (finite,) = checks.results()
    assert all_counts[0] == some_counts[0] == 0
    assert (sum(all_counts), sum(some_counts)) == (4 * LARGE, 4000)
    assert finite
    packed[place] = 0xFF
    values[place | 1], values[place & ~1] = 0x7F, 0x80
    (all_counts, _), (finite,) = BackgroundChecks([packed, packed[1:2]], [values], 2).results()
    assert all_counts[0] > 0
    assert not finite


@pytest.mark.parametrize(("name", "message"), [(UP_PROJ, "code 3"), (EMBEDDING, "NaN or infinity")])
def test_the_result_has_the_errors_of_the_checks(tmp_path: Path, name: str, message: str) -> None:
    stored = small.tensors()
    stored[name][1].reshape(-1)[-1] = 0xFF if name == UP_PROJ else 0x7F80
    with (
        Checkpoint.open(small.write_folder(tmp_path, stored)).begin_loading() as loading,
        pytest.raises(CheckpointError, match=rf"model\.safetensors: tensor {name} holds .*{message}"),
    ):
        loading.result()


def test_another_error_meanwhile_ends_the_checks(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(small.write_folder(tmp_path))
    with pytest.raises(KeyError), checkpoint.begin_loading():
        raise KeyError


def test_a_refused_thread_is_an_error_of_the_device() -> None:
    """The address space has no room for the stack of another thread."""
    script = """
import resource
import numpy as np
from pathlib import Path
from bitnet_tt._native import BackgroundChecks
from bitnet_tt.errors import DeviceError

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
try:
    BackgroundChecks([np.zeros(100, np.uint8)], [], 1)
except DeviceError as error:
    print(error)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("cannot start a thread that checks weights: ")
