"""On a simulator of several chips, a chain of cards has the bits of one card (`Chains`).

Run it with pytest -m simulator and TT_METAL_SIMULATOR set to a simulator of two or more chips.
"""

from __future__ import annotations

import os

import pytest

from tests.device.chains import Chains

ttnn = pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR is not set"),
]


@pytest.fixture(scope="module")
def cards() -> int:
    """Return the chips of the simulator."""
    count: int = ttnn.get_num_devices()
    if count < 2:
        pytest.skip("TT_METAL_SIMULATOR has one chip")
    return count


class TestSimulator(Chains):
    """The tests of `Chains`, on a simulator."""
