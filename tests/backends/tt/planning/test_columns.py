"""Two cards share every output of every matrix, cut no head and no tile, and put their columns together again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt.backends.tt.planning.columns import all_columns, share_columns
from bitnet_tt.backends.tt.planning.exchange import Exchange, page_exchange, strip_exchange, tile_exchange
from bitnet_tt.backends.tt.planning.grid import STRIP, TILE
from bitnet_tt.config import LINEAR_NAMES, QuantizationConfig
from bitnet_tt.errors import DeviceError
from tests.backends.tt.planning.plans import CONFIG_2B4T

SMALL = replace(
    CONFIG_2B4T,
    hidden_size=256,
    intermediate_size=640,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    vocab_size=500,
)


@pytest.mark.parametrize("config", [CONFIG_2B4T, SMALL, replace(SMALL, hidden_size=288, intermediate_size=96)])
def test_every_output_is_on_one_card_in_whole_tiles(config) -> None:
    first, second = share_columns(config)
    for linear in LINEAR_NAMES:
        (outputs, _), one, other = config.linear_shapes[linear], first.of(linear), second.of(linear)
        assert (one.start, one.stop, other.stop) == (0, other.start, outputs)
        unit = CONFIG_2B4T.head_dim * 4 if linear[0] in "qkv" else STRIP
        assert abs(len(one) - len(other)) <= unit
        assert len(other) > 0
        assert other.start % TILE == 0
    assert (first.vocabulary.stop, second.vocabulary.stop) == (second.vocabulary.start, config.vocab_size)
    assert second.vocabulary.start % TILE == 0


def test_query_heads_stay_with_their_kv_head() -> None:
    first, second = share_columns(CONFIG_2B4T)
    head, group = CONFIG_2B4T.head_dim, CONFIG_2B4T.queries_per_kv_head
    assert [len(one.keys) // head for one in (first, second)] == [3, 2]
    assert [len(one.queries) for one in (first, second)] == [len(one.keys) * group for one in (first, second)]


def test_2b4t_is_cut_on_whole_strips() -> None:
    first, _ = share_columns(CONFIG_2B4T)
    assert [len(part) % STRIP for part in (first.queries, first.hidden, first.inner)] == [0, 0, 0]


def test_one_card_has_all_columns() -> None:
    everything = all_columns(CONFIG_2B4T)
    for linear, (outputs, _) in CONFIG_2B4T.linear_shapes.items():
        assert everything.of(linear) == range(outputs)


@pytest.mark.parametrize(
    ("changes", "cards", "error"),
    [
        ({}, 1, "cards is 1; tensor parallelism works on 2 cards: use cards=2"),
        ({}, 4, "cards is 4; tensor parallelism works on 2 cards: use cards=2"),
        (
            {"num_key_value_heads": 1},
            2,
            "num_key_value_heads is 1, fewer than 2 cards; tensor parallelism cuts",
        ),
        ({"quantization": QuantizationConfig(use_rms_norm=True)}, 2, "norms of their own .* use a pipeline"),
        ({"hidden_size": 32}, 2, "hidden_size is 32; tensor parallelism needs more than 32 columns"),
        ({"vocab_size": 32}, 2, "vocab_size is 32; tensor parallelism needs more than 32 columns"),
    ],
)
def test_models_that_cannot_be_shared_are_refused(changes, cards: int, error: str) -> None:
    with pytest.raises(DeviceError, match=error):
        share_columns(replace(CONFIG_2B4T, **changes), cards)


@pytest.mark.parametrize("cut", [128, 160, 256, 1280])
@pytest.mark.parametrize(("rows", "lines"), [(1, 1), (4, 4), (8, 8), (32, 1)])
def test_strips_are_put_together(cut: int, rows: int, lines: int) -> None:
    whole = np.random.default_rng(0).standard_normal((rows, cut + 128), np.float32)
    cuts = strip_exchange(rows, lines, cut, whole.shape[1])
    parts = [_strips(part, lines) for part in np.split(whole, [cut], axis=1)]
    result = _gathered(cuts, parts)
    assert result.size == _strips(whole, lines).size
    assert np.array_equal(_rows(result, lines, whole.shape), whole)


@pytest.mark.parametrize("cut", [32, 96, 256])
def test_tiles_are_put_together(cut: int) -> None:
    whole = np.random.default_rng(0).standard_normal((64, cut + 64), np.float32)
    parts = [_tiles(part) for part in np.split(whole, [cut], axis=1)]
    assert np.array_equal(_gathered(tile_exchange(64, cut, whole.shape[1]), parts), _tiles(whole))


@pytest.mark.parametrize("row_bytes", [8, 64, 256])
def test_pages_are_put_together(row_bytes: int) -> None:
    padded = -(-row_bytes // 64) * 16
    whole = np.random.default_rng(0).standard_normal((9, padded), np.float32)
    result = _gathered(page_exchange(row_bytes, 5, 9), [whole[:5].ravel(), whole[5:].ravel()])
    assert np.array_equal(result, whole.ravel())


def test_packets_are_as_large_as_the_fabric_takes() -> None:
    assert strip_exchange(8, 8, 1280, 2560).packet_bytes == 4096
    assert strip_exchange(1, 1, 1280, 2560).packet_bytes == 1024
    assert tile_exchange(32, 96, 160).packet_bytes == 4096


def test_halves_of_a_row_are_five_packets_and_of_32_rows_forty() -> None:
    """As many as were counted on simulated Ethernet, beside two that raise semaphores."""
    assert strip_exchange(1, 1, 1280, 2560).packets == 5
    assert strip_exchange(8, 8, 1280, 2560).packets == 10
    assert tile_exchange(32, 1280, 2560).packets == 40


def _gathered(cuts: Exchange, parts: list[np.ndarray]) -> np.ndarray:
    """Copy the packets as the kernels do; what no packet has stays NaN."""
    words = cuts.packet_bytes // 4
    result = np.full((cuts.groups * cuts.stride, words), np.nan, np.float32)
    for part, each, stride, begin in zip(parts, cuts.parts, cuts.strides, (0, cuts.parts[0]), strict=True):
        packets = part.reshape(-1, words)
        for packet in range(cuts.groups * each):
            group, index = divmod(packet, each)
            result[group * cuts.stride + begin + index] = packets[group * stride + index]
    return result.ravel()


def _strips(rows: np.ndarray, lines: int) -> np.ndarray:
    """Lay rows out as in strips.hpp."""
    count, features = rows.shape
    padded = np.full((count, -(-features // STRIP) * STRIP), np.nan, np.float32)
    padded[:, :features] = rows
    return padded.reshape(count // lines, lines, -1, 16).transpose(0, 2, 1, 3).ravel()


def _rows(pages: np.ndarray, lines: int, shape: tuple[int, int]) -> np.ndarray:
    return pages.reshape(shape[0] // lines, -1, lines, 16).transpose(0, 2, 1, 3).reshape(shape[0], -1)[:, : shape[1]]


def _tiles(rows: np.ndarray) -> np.ndarray:
    height, width = rows.shape
    return rows.reshape(height // TILE, TILE, width // TILE, TILE).transpose(0, 2, 1, 3).ravel()
