"""The cores' parts of a product cover the result and fit into L1; a product that does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150
from bitnet_tt.backends.tt.planning.products import FUSED_LINEARS, fused_shape
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.errors import DeviceError
from tests.backends.tt.planning.plans import CONFIG_2B4T, PLAN_2B4T


def test_each_linear_is_in_one_product() -> None:
    assert sorted(name for linears in FUSED_LINEARS.values() for name in linears) == sorted(LINEAR_NAMES)
    assert {name: fused_shape(CONFIG_2B4T, name) for name in FUSED_LINEARS} == {
        "qkv": (2560, 2560 + 2 * 640),
        "o": (2560, 2560),
        "gate_up": (2560, 2 * 6912),
        "down": (6912, 2560),
    }


@pytest.mark.parametrize("grid", [(13, 10), (12, 10), (11, 10), (8, 8)])
@pytest.mark.parametrize("rows", [1, 32, 512])
def test_products_cover_the_result_and_fit(grid: tuple[int, int], rows: int) -> None:
    plan = replace(PLAN_2B4T, grid=replace(SMALLEST_P150, x=grid[0], y=grid[1]))
    for product in plan.layer_products(rows):
        assert product.cores * product.per_core_n >= product.n
        assert product.cores <= plan.grid.cores
        assert product.k % product.k_block == 0
        assert product.per_core_n % product.subblock[1] == 0
        assert product.rows % product.subblock[0] == 0
        assert product.subblock[0] * product.subblock[1] <= 4
        assert product.l1_bytes < SMALLEST_P150.l1_bytes


def test_a_product_that_fits_no_core_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"wide needs more than .* bytes of L1"):
        replace(PLAN_2B4T, grid=replace(SMALLEST_P150, x=1, y=1)).linear("wide", 512, 2560, 6912)


def test_ternary_weights_take_a_bfp4_tile_each() -> None:
    linears = sum(product.weight_bytes for product in PLAN_2B4T.layer_products(32))
    per_layer = 2560 * (2560 + 2 * 640) + 2560 * 2560 + 3 * 2560 * 6912
    assert linears == per_layer // 1024 * 576
