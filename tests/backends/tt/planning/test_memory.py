"""A cache that does not fit beside the weights is refused, and the message says how much fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.memory import check_dram
from bitnet_tt.errors import DeviceError
from tests.backends.tt.planning.plans import PLAN_2B4T


def test_too_large_a_cache_says_how_much_fits() -> None:
    check_dram(PLAN_2B4T, 4096)
    with pytest.raises(DeviceError, match=r"GiB.*positions: ask for a smaller context_length or max_batch_size"):
        check_dram(PLAN_2B4T, 1 << 20)
    with pytest.raises(DeviceError, match="smaller model"):
        check_dram(replace(PLAN_2B4T, grid=replace(SMALLEST_P150, dram_bytes=1 << 30)), 1)
