"""The promises of tensor parallelism, on a simulator or on cards: two cards have the bits of one."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.tt.planning.columns import TENSOR_PARALLEL_CARDS as PAIR
from tests import golden_checkpoints as golden
from tests.device.chains import layers_of, logits_of, spread, stock_mesh, texts_of, with_cards
from tests.device.paged import PagedFeeder

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend
    from bitnet_tt.backends.tt.ops.common.strips import Strips

needs_queues = pytest.mark.skipif(
    "TT_METAL_SLOW_DISPATCH_MODE" in os.environ, reason="tensor parallelism needs fast dispatch"
)

_ROWS: dict[str, tuple[int, int]] = {
    "1 row": (1, 1),
    "4 rows": (4, 4),
    "8 rows": (8, 8),
    "64 rows of a prompt": (64, 1),
}
"""Rows in strips: how many, and how many share a page."""

_CUTS = ((2560, 1280), (640, 384), (320, 160))
"""Columns of a row, and those of the first card: cuts on strips and within one."""


class Pairs:
    """The tests. `test_simulator_cards.py` runs them on a simulator, `test_card.py` on cards."""

    def test_a_gather_copies_bits_launched_and_traced(self, cards: int) -> None:
        """Rows in strips and in tiles, from L1 and DRAM, and pages; whichever card starts first."""
        check_gathers()

    def test_a_gather_has_the_bits_of_the_stock_operation(self, cards: int) -> None:
        check_stock_gather()

    @needs_queues
    @pytest.mark.parametrize("name", golden.TT_NAMES)
    def test_two_cards_that_share_every_matrix_have_the_bits_of_one(self, name: str, cards: int) -> None:
        """Prompts, cuts, decode steps of one to nine sequences, and a text that is read again elsewhere."""
        config, weights = layers_of(name, 1)
        one, two = (with_cards(config, weights, count, _logits_of, tensor_parallel=count > 1) for count in (1, PAIR))
        np.testing.assert_array_equal(two, one)

    @needs_queues
    def test_two_cards_have_the_bits_of_one_in_exact(self, cards: int) -> None:
        """A prompt and a decode step, with an lm_head in bfloat16."""
        config, weights = layers_of("bitnet-packed", 1)
        one, two = (
            with_cards(config, weights, count, _few_logits_of, tensor_parallel=count > 1, precision="exact")
            for count in (1, PAIR)
        )
        np.testing.assert_array_equal(two, one)

    @needs_queues
    def test_two_cards_feed_tokens_back_as_one_does(self, cards: int) -> None:
        """Launched, recorded, replayed, and ahead of the host."""
        config, weights = layers_of("bitnet-packed", 2)
        one, two = (with_cards(config, weights, count, texts_of, tensor_parallel=count > 1) for count in (1, PAIR))
        assert two == one


def _few_logits_of(backend: TTBackend) -> NDArray[np.float32]:
    """Return the logits of a prompt and of a decode step."""
    feeder = PagedFeeder(backend, sequences=1, blocks_each=1)
    feeder.feed({0: [5, 3, 8, 1]})
    feeder.feed({0: [2]})
    return np.stack(feeder.logits[0])


def _logits_of(backend: TTBackend) -> NDArray[np.float32]:
    """Return the logits of `logits_of`, and those of nine sequences: more than the programs for few rows take."""
    few = logits_of(backend)
    feeder, tokens = PagedFeeder(backend, sequences=9, blocks_each=1), np.random.default_rng(2).integers(0, 500, (2, 9))
    for step in tokens.tolist():
        feeder.feed({index: [token] for index, token in enumerate(step)})
    return np.concatenate([few, *(np.stack(rows) for rows in feeder.logits)])


def check_gathers() -> None:
    """Gather random numbers in every form on both cards, and compare their bits."""
    from bitnet_tt.backends.tt.device.mesh import open_cards
    from bitnet_tt.backends.tt.ops.gather.op import Pair

    cards, random = open_cards(2, 1 << 23), np.random.default_rng(0)
    try:
        pairs = Pair.between(cards, (2048, 2048))
        for width, cut in _CUTS:
            for rows, lines in _ROWS.values():
                _check_strips(cards, pairs, _numbers(random, (rows, width)), cut, lines)
            _check_tiles(cards, pairs, _numbers(random, (1, 1, 64, width)), cut)
        _check_pages(cards, pairs, random)
        if cards[0].traces.recorder is not None:  # in slow dispatch, the host waits between two gathers of a card
            _check_traced(cards, pairs, random)
    finally:
        cards[0].close()


def check_stock_gather() -> None:
    """Gather the halves of a row, and of 32 rows in tiles, with ttnn's operation and with ours: the same bits."""
    import ttnn

    from bitnet_tt.backends.tt.device.mesh import open_cards
    from bitnet_tt.backends.tt.ops.gather.op import Pair, gather_strips, gather_tiles
    from tests.device.tensors import from_strips, strips

    width, halves = 2560, _parts(1280, 2560)
    row, rows = (_numbers(np.random.default_rng(count), (1, 1, count, width)) for count in (1, 32))
    with stock_mesh(2) as mesh:
        layouts = (ttnn.ROW_MAJOR_LAYOUT, ttnn.TILE_LAYOUT)
        stock = [
            [_bits(part) for part in ttnn.get_device_tensors(ttnn.all_gather(spread(mesh, x, 3, layout), dim=3))]
            for x, layout in zip((row, rows), layouts, strict=True)
        ]
    cards = open_cards(2)
    try:
        places = list(zip(cards, Pair.between(cards, (64, 64)), halves, strict=True))
        in_strips = [
            gather_strips(pair, strips(card, row[0, 0, :, half.start : half.stop]), half, width)
            for card, pair, half in places
        ]
        in_tiles = [
            gather_tiles(pair, card.tiles(rows[..., half.start : half.stop], ttnn.float32), half, width)
            for card, pair, half in places
        ]
        ours = [from_strips(whole).view(np.uint32) for whole in in_strips], [_bits(whole) for whole in in_tiles]
    finally:
        cards[0].close()
    for mine, theirs in zip(ours, stock, strict=True):
        for place in range(2):
            np.testing.assert_array_equal(mine[place].reshape(theirs[place].shape), theirs[place])


def _check_strips(cards: Any, pairs: Any, x: NDArray[np.float32], cut: int, lines: int) -> None:
    import ttnn

    from bitnet_tt.backends.tt.ops.gather.op import gather_strips
    from tests.device.tensors import from_strips, strips

    for memory in (ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG):
        results = []
        for card, pair, columns in zip(cards, pairs, _parts(cut, x.shape[1]), strict=True):
            own = strips(card, x[:, columns.start : columns.stop], lines)
            own = replace(own, tensor=ttnn.to_memory_config(own.tensor, memory))
            results.append(gather_strips(pair, own, columns, x.shape[1]))
        for whole in results:
            np.testing.assert_array_equal(from_strips(whole).view(np.uint32), x.view(np.uint32), f"{x.shape} {lines}")


def _check_tiles(cards: Any, pairs: Any, x: NDArray[np.float32], cut: int) -> None:
    import ttnn

    from bitnet_tt.backends.tt.ops.gather.op import gather_tiles

    for memory in (ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG):
        results = []
        for card, pair, columns in zip(cards, pairs, _parts(cut, x.shape[3]), strict=True):
            own = ttnn.to_memory_config(card.tiles(x[..., columns.start : columns.stop], ttnn.float32), memory)
            results.append(gather_tiles(pair, own, columns, x.shape[3]))
        for whole in results:
            np.testing.assert_array_equal(_bits(whole), x.view(np.uint32))


def _check_pages(cards: Any, pairs: Any, random: np.random.Generator) -> None:
    """Gather the largest logits of parts of the vocabulary: 5 parts of one card, 4 of the other."""
    import ttnn

    from bitnet_tt.backends.tt.ops.gather.op import gather_pages

    for words in (2, 64):
        x = random.integers(0, 1 << 32, (9, words), np.uint32)
        results = [
            gather_pages(pair, card.rows(x[pages.start : pages.stop], ttnn.uint32), pages, 9)
            for card, pair, pages in zip(cards, pairs, _parts(5, 9), strict=True)
        ]
        for whole in results:
            np.testing.assert_array_equal(whole.cpu().to_numpy(), x)


def _check_traced(cards: Any, pairs: Any, random: np.random.Generator) -> None:
    """Launch, record and replay two gathers in a step, each time with other numbers and with another card first."""
    import ttnn

    from bitnet_tt.backends.tt.ops.gather.op import gather_strips
    from tests.device.tensors import strips

    parts = _parts(128, 256)
    owns = [strips(card, np.zeros((1, 128), np.float32)) for card in cards]

    def step(place: int) -> tuple[Strips, Strips]:
        first = gather_strips(pairs[place], owns[place], parts[place], 256)
        return first, gather_strips(pairs[place], owns[place], parts[place], 256)

    for number in range(4):
        x = _numbers(random, (1, 256))
        for own, columns in zip(owns, parts, strict=True):
            padded = np.zeros((1, 256), np.float32)
            padded[:, :128] = x[:, columns.start : columns.stop]
            ttnn.copy_host_to_device_tensor(ttnn.Tensor(padded, ttnn.float32, None, ttnn.ROW_MAJOR_LAYOUT), own.tensor)
        places = (0, 1) if number % 2 == 0 else (1, 0)
        results = [cards[place].traces.run("gathers", lambda place=place: step(place)) for place in places]
        for whole in (rows for pair in results for rows in pair):
            np.testing.assert_array_equal(_bits(whole.tensor), x.view(np.uint32))
    for card in cards:
        card.traces.release()


def _parts(cut: int, width: int) -> tuple[range, range]:
    return range(cut), range(cut, width)


def _numbers(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return random bits that are finite numbers."""
    x = random.integers(0, 1 << 32, shape, np.uint32).view(np.float32)
    return np.where(np.isfinite(x), x, np.float32(-0.0))


def _bits(tensor: Any) -> NDArray[np.uint32]:
    array: NDArray[np.float32] = tensor.cpu().to_numpy()
    return array.view(np.uint32)
