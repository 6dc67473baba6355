"""Layouts and budgets, which need neither ttnn nor a card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.tt.planning.plan import KEY_CHUNK, TILE, Grid, Plan, Want
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError
from tests.test_config import BITNET_2B4T

GRID = Grid(x=11, y=10, l1_bytes=1461120, dram_bytes=34217131008, dram_banks=8)
CONFIG = ModelConfig.from_dict(BITNET_2B4T)
PLAN = Plan(CONFIG, GRID, "fast", 4096)


@pytest.mark.parametrize("grid", [(13, 10), (12, 10), (11, 10), (8, 8)])
@pytest.mark.parametrize("rows", [1, 32, 512])
def test_products_cover_the_result_and_fit(grid: tuple[int, int], rows: int) -> None:
    plan = replace(PLAN, grid=replace(GRID, x=grid[0], y=grid[1]))
    for product in (*plan.layer_products(rows), plan.head()):
        assert product.cores * product.per_core_n >= product.n
        assert product.cores <= plan.grid.cores
        assert product.k % product.k_block == 0
        assert product.per_core_n % product.subblock[1] == 0
        assert product.rows % product.subblock[0] == 0
        assert product.subblock[0] * product.subblock[1] <= 4
        assert product.l1_bytes < GRID.l1_bytes


def test_a_product_that_fits_no_core_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"lm_head needs more than .* bytes of L1"):
        replace(PLAN, grid=replace(GRID, x=1, y=1)).head()


def test_ternary_weights_take_a_bfp4_tile_each() -> None:
    linears = sum(product.weight_bytes for product in PLAN.layer_products(32))
    per_layer = 2560 * (2560 + 2 * 640) + 2560 * 2560 + 3 * 2560 * 6912
    assert linears == per_layer // 1024 * 576


def test_contexts_end_in_a_masked_chunk() -> None:
    sizes = set()
    for end in range(1, 5000):
        blocks = PLAN.context_blocks(end)
        assert blocks * TILE >= end + KEY_CHUNK
        assert blocks * TILE % KEY_CHUNK == 0
        assert blocks * TILE <= 1.34 * end + 3 * KEY_CHUNK
        sizes.add(blocks)
    assert len(sizes) < 20


def test_steps_have_few_sizes() -> None:
    assert {PLAN.prefill_bucket(tokens) for tokens in range(1, 513)} == {32, 64, 128, 256, 512}
    assert {PLAN.decode_bucket(sequences) for sequences in range(1, 33)} == {1, 2, 4, 8, 16, 32}


def test_the_device_looks_for_few_sizes_of_greatest_logits() -> None:
    def want(*filters: LogitFilter, kept: bool = True) -> Want:
        return PLAN.want(filters, kept=kept)

    top_p, whole_rows = LogitFilter(margin=9.6, mass_temperature=0.6), Want(None, whole=True)
    assert want() == want(LogitFilter(1), LogitFilter(1)) == Want(1, whole=False)
    assert {want(LogitFilter(count)).count for count in range(1, 65)} == {1, 8, 16, 32, 64}
    assert want(top_p, LogitFilter(1)) == want(LogitFilter(8), LogitFilter(margin=2.0)) == Want(8, whole=True)
    assert want(LogitFilter(), LogitFilter(1)) == want(top_p, kept=False) == want(LogitFilter(65)) == whole_rows
    few_tokens = replace(PLAN, config=replace(CONFIG, vocab_size=1024))
    assert few_tokens.want([top_p], kept=True) == Want(8, whole=True)
    assert few_tokens.want([LogitFilter(9)], kept=True) == whole_rows


def test_too_large_a_cache_says_how_much_fits() -> None:
    PLAN.check_dram(4096)
    with pytest.raises(DeviceError, match=r"GiB.*positions: ask for a smaller context_length or max_batch_size"):
        PLAN.check_dram(1 << 20)
    with pytest.raises(DeviceError, match="smaller model"):
        replace(PLAN, grid=replace(GRID, dram_bytes=1 << 30)).check_dram(1)


def test_shapes_that_are_not_tiles_are_named() -> None:
    with pytest.raises(DeviceError, match="head_dim is 80"):
        Plan(replace(CONFIG, head_dim=80), GRID, "fast", 128)
    with pytest.raises(DeviceError, match="precision"):
        Plan(CONFIG, GRID, "sloppy", 128)  # type: ignore[arg-type]
