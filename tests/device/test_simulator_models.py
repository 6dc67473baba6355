"""On a simulator of the chip, the demo model and a layer of 2B4T follow the reference (`WholeModels`).

Run it with pytest -m simulator and TT_METAL_SIMULATOR set.
"""

from __future__ import annotations

import os

import pytest

from tests.device.whole_models import WholeModels

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
]


class TestSimulator(WholeModels):
    """The tests of `WholeModels`, on a simulator."""
