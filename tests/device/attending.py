"""Attention and the heads that it reads, on a simulator or a card, against float64 and to the bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.device.weights import padded_row
from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct
from bitnet_tt.backends.tt.ops.paged_attention.op import paged_attention
from bitnet_tt.backends.tt.ops.split_heads.op import split_heads
from bitnet_tt.backends.tt.planning.attention import PART_BLOCKS, parts_of
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.config import ModelConfig
from bitnet_tt.rope import rope_tables
from tests.device.tensors import from_strips, strips, to_host

CONTEXT = 512


@dataclass(frozen=True, slots=True)
class Cache:
    """Random keys and values of some sequences, whose blocks do not lie in order.

    Attributes:
        config: The model's shape.
        keys: For each sequence float32 [positions, kv_heads, head_dim]; so are the values.
        table: The blocks of each sequence.
        tensors: The same keys and values on the card.
    """

    config: ModelConfig
    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    table: NDArray[np.int64]
    tensors: tuple[Any, Any]

    @classmethod
    def random(cls, card: Card, config: ModelConfig, sequences: int, positions: int) -> Cache:
        random, blocks = np.random.default_rng(0), PART_BLOCKS * parts_of(positions)
        shape = (sequences, blocks * TILE, config.num_key_value_heads, config.head_dim)
        arrays = [random.standard_normal(shape).astype(np.float32) for _ in range(2)]
        table = random.permutation(sequences * blocks).reshape(sequences, blocks)
        by_block = [
            array.reshape(-1, TILE, *shape[2:]).swapaxes(1, 2)[np.argsort(table.reshape(-1))] for array in arrays
        ]
        return cls(config, arrays[0], arrays[1], table, tuple(card.tiles(array, ttnn.float32) for array in by_block))

    def expected(self, q: NDArray[np.float32], sequence: int, position: int) -> NDArray[np.float64]:
        """Return the attention of one row in float64, [query_features]."""
        heads = np.float64(q).reshape(self.config.num_key_value_heads, -1, self.config.head_dim)
        keys, values = (np.float64(array[sequence, : position + 1]) for array in (self.keys, self.values))
        scores = np.einsum("hgd,phd->hgp", heads, keys) / np.sqrt(self.config.head_dim)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.einsum("hgp,phd->hgd", weights / weights.sum(axis=-1, keepdims=True), values).reshape(-1)


def check_attention(config: ModelConfig) -> None:
    """Rows of several lengths are right, and equal to the bit alone, in a larger table, and as a part of a prompt."""
    lengths = np.array([65, 1, 31, 32, 33, 64, 200, 128])
    card, random = open_cards()[0], np.random.default_rng(1)
    try:
        plan = Plan(config, card.grid, "fast", CONTEXT)
        cache = Cache.random(card, config, len(lengths), int(lengths.max()))
        q = random.standard_normal((len(lengths), config.query_features)).astype(np.float32)
        rows = _attend(card, plan, cache, q, lengths - 1, cache.table, tokens=1)
        for sequence, length in enumerate(lengths):
            expected = cache.expected(q[sequence], sequence, length - 1)
            np.testing.assert_allclose(rows[sequence], expected, rtol=0, atol=2e-6 * np.abs(expected).max())
        for count in (1, 3):
            wider = np.hstack([cache.table[:count], np.zeros_like(cache.table[:count])])
            fewer = _attend(card, plan, cache, q[:count], lengths[:count] - 1, wider, tokens=1)
            np.testing.assert_array_equal(fewer, rows[:count])
        # Prompts of 32 tokens across the end of a part: row 31 - cut is the row from above. With few cores, rows share
        # keys and values.
        few_cores = replace(plan, grid=replace(plan.grid, x=2, y=2))
        for cut, plan_of_prompt in ((0, plan), (5, plan), (0, few_cores), (5, few_cores)):
            prompt = random.standard_normal((TILE, config.query_features)).astype(np.float32)
            prompt[TILE - 1 - cut] = q[0]
            positions = lengths[0] - TILE + cut + np.arange(TILE)
            together = _attend(card, plan_of_prompt, cache, prompt, positions, cache.table[:1], tokens=TILE)
            np.testing.assert_array_equal(together[TILE - 1 - cut], rows[0])
    finally:
        card.close()


def _attend(
    card: Card,
    plan: Plan,
    cache: Cache,
    q: NDArray[np.float32],
    positions: NDArray[np.int64],
    table: NDArray[np.int64],
    tokens: int,
) -> NDArray[np.float32]:
    inputs = _inputs(card, positions, np.full(len(positions), SKIP), table)
    attended = paged_attention(
        strips(card, q),
        cache.tensors,
        inputs,
        plan,
        sequences=len(q) // tokens,
        tokens=tokens,
        blocks=table.shape[1],
    )
    return from_strips(attended)


def check_heads(config: ModelConfig) -> None:
    """An integer product with scales gives rotated heads, and k and v in their slots."""
    count, card, random = 3, open_cards()[0], np.random.default_rng(2)
    width = config.query_features + 2 * config.kv_features
    sums = random.integers(-3000, 3000, (DECODE_ROWS, width)).astype(np.float32)
    largest = random.uniform(0.5, 3, (DECODE_ROWS, 1)).astype(np.float32)
    widths = (config.query_features, config.kv_features, config.kv_features)
    scales = np.repeat([1e-4, 3e-4, 2e-4], widths).astype(np.float32)
    positions, slots = np.array([0, 40, 7]), np.array([33, SKIP, 5])
    scaled = sums * largest * scales
    try:
        plan = Plan(config, card.grid, "fast", CONTEXT)
        inputs = _inputs(card, positions, slots, np.zeros((1, PART_BLOCKS), np.int64))
        integers, factors = (card.tiles(array[None, None], ttnn.float32) for array in (sums, largest))
        product = IntegerProduct(integers, factors, (1.0,) * 3)
        shape = [2, config.num_key_value_heads, TILE, config.head_dim]
        caches = tuple(card.zeros(shape, ttnn.float32) for _ in range(2))
        q = split_heads(product, padded_row(card, scales), Angles.load(card, plan), inputs, caches, plan, rows=count)
        cos, sin = (np.float64(table[positions]) for table in rope_tables(config, CONTEXT))
        parts = np.split(np.float64(scaled[:count]), np.cumsum([config.query_features, config.kv_features]), axis=1)
        expected_q, expected_k = (_rotate(part, config.head_dim, cos, sin) for part in parts[:2])
        np.testing.assert_allclose(from_strips(q), expected_q, rtol=1e-5, atol=1e-5)
        keys, values = (to_host(cache).swapaxes(1, 2).reshape(2 * TILE, -1) for cache in caches)
        for cached, expected in ((keys, expected_k), (values, parts[2])):
            written = {5: 2, 33: 0}  # slot: row
            for slot, row in written.items():
                np.testing.assert_allclose(cached[slot], expected[row], rtol=1e-5, atol=1e-5)
            assert not np.delete(cached, list(written), axis=0).any()
    finally:
        card.close()


def check_few_rows(config: ModelConfig, count: int, lines: int) -> None:
    """One program for few rows has the bits of two programs: attention, and the cache with the rows' own positions.

    The first row's own position lies between others in its part; another row is not written to the cache.
    """
    card, random = open_cards()[0], np.random.default_rng(3)
    positions = np.array([40, 0, 31, 32, 63, 64, 199, 127])[:count]
    width = config.query_features + 2 * config.kv_features
    rows = random.standard_normal((count, width)).astype(np.float32)
    try:
        plan, ones = Plan(config, card.grid, "fast", CONTEXT), np.ones(width, np.float32)
        angles = Angles.load(card, plan)
        one, two = (Cache.random(card, config, len(positions), int(positions.max()) + 1) for _ in range(2))
        slots = one.table[np.arange(count), positions // TILE] * TILE + positions % TILE
        slots[1:2] = SKIP
        inputs = _inputs(card, positions, slots, one.table)
        attend = partial(
            paged_attention, inputs=inputs, plan=plan, sequences=count, tokens=1, blocks=one.table.shape[1]
        )
        product = IntegerProduct(card.tiles(rows[None, None], ttnn.float32), None, (1.0,) * 3)
        q = split_heads(product, padded_row(card, ones), angles, inputs, two.tensors, plan, rows=count)
        expected = from_strips(attend(q, two.tensors))
        found = from_strips(attend(strips(card, rows, lines), one.tensors, angles=angles))
        written = np.arange(count) != 1
        np.testing.assert_array_equal(found[written], expected[written])
        for caches in zip(one.tensors, two.tensors, strict=True):
            np.testing.assert_array_equal(*(to_host(cache) for cache in caches))
    finally:
        card.close()


def _rotate(
    part: NDArray[np.float64], head_dim: int, cos: NDArray[np.float64], sin: NDArray[np.float64]
) -> NDArray[np.float64]:
    left, right = np.split(part.reshape(len(part), -1, head_dim), 2, axis=2)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=2).reshape(len(part), -1)


def _inputs(card: Card, positions: NDArray[Any], slots: NDArray[Any], table: NDArray[Any]) -> Inputs:
    rows = np.zeros((2, 1, max(len(positions), DECODE_ROWS)), np.uint32)
    rows[0, 0, : len(positions)], rows[1, 0, : len(slots)] = positions, slots
    of_rows = [card.rows(array, ttnn.uint32) for array in (rows[0], rows[0], rows[1])]
    return Inputs(*of_rows, card.rows(table.astype(np.uint32), ttnn.uint32))


def shape_of(config: ModelConfig, query_heads: int, kv_heads: int, head_dim: int) -> ModelConfig:
    """Return a model's config with other heads."""
    return replace(
        config,
        hidden_size=query_heads * head_dim,
        num_attention_heads=query_heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
    )
