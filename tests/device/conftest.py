"""Turn off the log of ttnn, which reports every program, and count the cards. ttnn reads the setting when imported."""

import os

import pytest

os.environ.setdefault("TT_LOGGER_LEVEL", "OFF")


@pytest.fixture(scope="session")
def cards() -> int:
    """Return the number of cards, or of chips of the simulator."""
    ttnn = pytest.importorskip("ttnn", reason="the extra tt is not installed")
    count: int = ttnn.get_num_devices()
    if count < 2:
        pytest.skip("there is one card")
    return count
