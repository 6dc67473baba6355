"""Numbers on a simulator of the chip, kernels compiled and run: pytest -m simulator, with TT_METAL_SIMULATOR set."""

from __future__ import annotations

import os

import pytest

from tests.device.agreement import Numbers

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR names no simulator"),
]


class TestSimulator(Numbers):
    """See `Numbers`."""
