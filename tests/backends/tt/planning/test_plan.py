"""A plan has few shapes, contexts of whole parts, and head outputs that suffice for the filters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.tt.planning.attention import PART_BLOCKS
from bitnet_tt.backends.tt.planning.grid import SMALLEST_P150, TILE
from bitnet_tt.backends.tt.planning.plan import HeadOutput, Plan
from bitnet_tt.errors import DeviceError
from tests.backends.tt.planning.plans import CONFIG_2B4T, PLAN_2B4T


def test_contexts_are_whole_parts_of_few_sizes() -> None:
    sizes = set()
    for end in range(1, 4097):
        blocks = PLAN_2B4T.context_blocks(end)
        assert end <= blocks * TILE <= max(2 * end, PART_BLOCKS * TILE)
        assert blocks % PART_BLOCKS == 0
        sizes.add(blocks)
    assert len(sizes) == 7
    assert replace(PLAN_2B4T, context_length=300).context_blocks(300) == 10  # not 16: the context ends before


def test_steps_have_few_sizes() -> None:
    assert {PLAN_2B4T.prefill_bucket(tokens) for tokens in range(1, 513)} == {32, 64, 128, 256, 512}
    assert {PLAN_2B4T.decode_bucket(sequences) for sequences in range(1, 33)} == {1, 4, 8, 16, 32}


def test_the_device_finds_few_counts_of_largest_logits() -> None:
    def output(*filters: LogitFilter, rows_stay: bool = True) -> HeadOutput:
        return PLAN_2B4T.head_output(filters, rows_stay=rows_stay)

    noise, whole_rows = Noise(1, 2, 0, 0.6), HeadOutput(None, whole_rows=True)
    top_p = LogitFilter(8, noise)
    assert output() == output(LogitFilter(1), LogitFilter(1)) == HeadOutput(1, whole_rows=False)
    assert {output(LogitFilter(count)).top_count for count in range(1, 65)} == {1, 8, 16, 32, 64}
    few_and_rows = HeadOutput(8, whole_rows=True)
    assert output(top_p, LogitFilter(1)) == output(LogitFilter(1, noise)) == few_and_rows
    assert output(LogitFilter(), LogitFilter(1)) == output(top_p, rows_stay=False) == output(LogitFilter(65))
    assert output(LogitFilter(noise=noise)) == output(LogitFilter(65)) == whole_rows
    assert output(LogitFilter(1, allowed=lambda: np.ones(4008, np.uint32))) == whole_rows
    assert output(LogitFilter(1, always=np.array([7])), LogitFilter(1)) == whole_rows
    few_tokens = replace(PLAN_2B4T, config=replace(CONFIG_2B4T, vocab_size=1024))
    assert few_tokens.head_output([top_p], rows_stay=True) == few_and_rows
    assert few_tokens.head_output([LogitFilter(9)], rows_stay=True) == whole_rows


def test_norms_of_queries_and_keys_are_refused() -> None:
    config = replace(CONFIG_2B4T, qk_norms=True)
    with pytest.raises(DeviceError, match=r"q_norm and k_norm .*device='cpu'"):
        Plan(config, SMALLEST_P150, "fast", 128)


def test_dimensions_that_are_not_whole_tiles_are_named() -> None:
    with pytest.raises(DeviceError, match="head_dim is 80"):
        Plan(replace(CONFIG_2B4T, head_dim=80), SMALLEST_P150, "fast", 128)
    with pytest.raises(DeviceError, match=r"head_dim is 320.* at most 256"):
        Plan(replace(CONFIG_2B4T, head_dim=320), SMALLEST_P150, "fast", 128)
    with pytest.raises(DeviceError, match="precision"):
        Plan(CONFIG_2B4T, SMALLEST_P150, "sloppy", 128)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="unknown ternary_tiles 'bfp1'; known: codes, bfp2"):
        Plan(CONFIG_2B4T, SMALLEST_P150, "fast", 128, "bfp1")  # type: ignore[arg-type]
