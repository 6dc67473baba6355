"""The demo model and a layer of 2B4T on a simulator: pytest -m simulator, with TT_METAL_SIMULATOR set."""

from __future__ import annotations

import os

import pytest

from tests.device.whole_models import WholeModels

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR names no simulator"),
]


class TestSimulator(WholeModels):
    """See `WholeModels`."""
