"""On a bit-exact simulator of the chip, with kernels compiled and run, logits agree with transformers (`Numbers`).

Run it with pytest -m simulator and TT_METAL_SIMULATOR set.
"""

from __future__ import annotations

import os

import pytest

from tests.device.agreement import Numbers

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
]


class TestSimulator(Numbers):
    """The tests of `Numbers`, on a simulator."""
