"""Tenstorrent's kernel compiler takes every kernel of ours, and their binaries fit.

The other tests of mock mode do not compile kernels. `make sfpi` fetches the compiler.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.device.mock.figures import config_of
from tests.device.mock.runtime import ROOT, environment, run

pytest.importorskip("ttnn", reason="the extra tt is not installed")

COMPILER = ROOT / "build/sfpi"
OPERATIONS = ROOT / "src/bitnet_tt/backends/tt/ops"
WITH_STREAMS = ("bit_linear", "expand_weights", "lm_head")
"""Operations that share the kernel `stream_read`."""

CONFIG_BUFFER_BYTES = 69 * 1024
"""L1 for the kernels of a program on Blackhole, with its arguments. tt-metal: default_l1_kernel_config_size."""

Steps = tuple[tuple[int, int], ...]

EVERY: Steps = ((1, 1), (4, 1), (8, 1), (1, 100))
"""Sequences and their tokens in a step: 1, 4 and 8 rows have programs of their own, and more rows have others."""

LARGEST: Steps = ((8, 1), (1, 100))
"""The largest variants of all kernels but those of exchanges between cards."""

pytestmark = [
    pytest.mark.sfpi,
    pytest.mark.slow,
    pytest.mark.skipif(not COMPILER.exists(), reason="Tenstorrent's kernel compiler is not there: make sfpi"),
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("2b4t", EVERY, EVERY), marks=pytest.mark.minutes, id="2b4t"),
        pytest.param(("llama-packed-divide", LARGEST, ((1, 1),)), id="llama-packed-divide"),
    ],
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Build the programs of two cards that share layers, and of two that share matrices."""
    model, *steps = request.param
    mock = environment(tmp_path_factory.mktemp("ttnn") / "root", COMPILER, cards="1x2")
    layers, matrices = (
        run(mock, "kernels", json.dumps(config_of(model)), "fast", sharing, json.dumps(taken), seconds=1800)
        for sharing, taken in zip(("layers", "matrices"), steps, strict=True)
    )
    return {"errors": layers["errors"] + matrices["errors"], "bytes": layers["bytes"] | matrices["bytes"]}


def test_the_compiler_takes_every_kernel(built: dict[str, Any]) -> None:
    """Its warnings are errors: ttnn compiles with -Werror."""
    assert built["errors"] == []
    assert set(built["bytes"]) == {file.stem for file in OPERATIONS.rglob("*.cpp")}


def test_the_kernels_of_two_programs_fit(built: dict[str, Any]) -> None:
    """While a program runs, those of the next one arrive."""
    found = programs(built["bytes"])
    for operation, binaries in found.items():
        print(f"{operation}: {sum(binaries.values())} bytes, {binaries}")
    *_, second, first = sorted(sum(binaries.values()) for binaries in found.values())
    assert first + second < CONFIG_BUFFER_BYTES


def programs(sizes: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the bytes of each operation on each processor."""
    found: dict[str, dict[str, int]] = {}
    for file in sorted(OPERATIONS.rglob("*.cpp")):
        operations = WITH_STREAMS if file.stem == "stream_read" else (file.parent.name,)
        for operation in operations:
            found.setdefault(operation, {}).update(sizes[file.stem])
    return found
