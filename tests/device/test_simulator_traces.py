"""On a simulator with fast dispatch, steps are recorded and replayed, to the same bits (`Replays`).

Run it with pytest -m simulator and TT_METAL_SIMULATOR set, without TT_METAL_SLOW_DISPATCH_MODE.
"""

from __future__ import annotations

import os

import pytest

from tests.device.replays import Replays

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
    pytest.mark.skipif("TT_METAL_SLOW_DISPATCH_MODE" in os.environ, reason="slow dispatch has no traces"),
]


class TestSimulator(Replays):
    """The tests of `Replays`, on a simulator."""
