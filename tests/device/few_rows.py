"""The programs for few rows, on a simulator or a card: against float64, and each row to the bit as it is alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.options import TernaryTiles
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.device.weights import TernaryWeights, load_ternary
from bitnet_tt.backends.tt.ops.bit_linear.op import bit_linear
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.embed.op import embed
from bitnet_tt.backends.tt.ops.expand_weights.op import expand_weights
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm
from bitnet_tt.backends.tt.planning.grid import TERNARY_TILE_BYTES, TILE
from bitnet_tt.backends.tt.planning.streams import deal
from bitnet_tt.weights import TernaryMatrix
from tests.device.tensors import from_strips, strips, to_host
from tests.ternary_matrices import random_matrix

EPS = 1e-5


def check_products(
    in_features: int, widths: Sequence[int], rows: int, lines: int, tiles: TernaryTiles = "codes"
) -> None:
    """Compare products without and with the residual stream; the last matrix may be cut short by the last core."""
    card, random = open_cards()[0], np.random.default_rng(rows)
    try:
        matrices = [random_matrix(random, width, in_features) for width in widths]
        weights = on_card(card, matrices, gated=False, tiles=tiles)
        x, gain = random.standard_normal((rows, in_features)) * 3, random.uniform(0.5, 1.5, in_features)
        residual = random.standard_normal((rows, sum(widths)))
        expected = np.concatenate([_bit_linear(x, gain, *matrix) for matrix in matrices], axis=1)
        norm, h = Norm.load(card, gain.astype(np.float32), EPS), partial(strips, card, residual.astype(np.float32))
        _check(card, x, lines, partial(bit_linear, norm=norm, weights=weights), expected)
        rows_of = partial(strips, card, x.astype(np.float32))
        added = from_strips(bit_linear(rows_of(lines), norm, weights, residual=h(lines)))
        np.testing.assert_allclose(added, residual + expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        expanded = to_host(expand_weights(weights))[0, 0]
        np.testing.assert_array_equal(expanded, np.concatenate([values for values, _ in matrices]).T)
    finally:
        card.close()


def check_gates(in_features: int, width: int, rows: int, lines: int, tiles: TernaryTiles = "codes") -> None:
    """Compare activation(gate) * up, without a norm before it."""
    card, random = open_cards()[0], np.random.default_rng(rows)
    try:
        matrices = [random_matrix(random, width, in_features) for _ in range(2)]
        weights = on_card(card, matrices, gated=True, tiles=tiles)
        x = random.standard_normal((rows, in_features))
        gate, up = (_bit_linear(x, None, *matrix) for matrix in matrices)
        for activation, activated in (("relu2", np.maximum(gate, 0) ** 2), ("silu", gate / (1 + np.exp(-gate)))):
            run = partial(bit_linear, norm=None, weights=weights, activation=activation)
            _check(card, x, lines, run, activated * up)
        np.testing.assert_array_equal(
            to_host(expand_weights(weights))[0, 0], np.concatenate([values for values, _ in matrices]).T
        )
    finally:
        card.close()


def check_embeddings(vocab_size: int, features: int, lines: int) -> None:
    """Look up the first and the last token, and others."""
    card, random = open_cards()[0], np.random.default_rng(0)
    try:
        table = (random.standard_normal((vocab_size, features)).astype(np.float32).view(np.uint32) & 0xFFFF0000).view(
            np.float32
        )
        ids = np.zeros((1, TILE), np.uint32)
        ids[0, :lines] = [vocab_size - 1, *range(lines - 1)]
        found = embed(card.rows(ids, ttnn.uint32), card.rows(table, ttnn.bfloat16), lines, lines)
        np.testing.assert_array_equal(from_strips(found), table[ids[0, :lines]])
    finally:
        card.close()


def _check(card: Card, x: NDArray[np.float64], lines: int, run: partial[Strips], expected: NDArray[np.float64]) -> None:
    """Compare a program's rows with float64, and with the same rows alone."""
    rows = x.astype(np.float32)
    found = from_strips(run(strips(card, rows, lines)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    for index in range(len(rows)):
        alone = from_strips(run(strips(card, rows[index : index + 1], 1)))
        np.testing.assert_array_equal(alone[0], found[index])


def _bit_linear(
    x: NDArray[np.float64], gain: NDArray[np.float64] | None, values: NDArray[np.int64], matrix: TernaryMatrix
) -> NDArray[np.float64]:
    if gain is not None:
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPS) * gain
    largest = np.abs(x).max(axis=1, keepdims=True)
    return np.rint(x * 127 / largest) @ values.T * largest * (float(matrix.scale) / 127)


def on_card(
    card: Card, matrices: Sequence[tuple[NDArray[np.int64], TernaryMatrix]], *, gated: bool, tiles: TernaryTiles
) -> TernaryWeights:
    """Put matrices on the card, dealt out to its cores."""
    (first, *_), *_ = matrices
    columns = sum(matrix.out_features for _, matrix in matrices) // TILE
    streams = deal(
        first.shape[1] // TILE,
        columns // (2 if gated else 1),
        card.grid,
        gated=gated,
        tile_bytes=TERNARY_TILE_BYTES[tiles],
    )
    return load_ternary(card, [matrix for _, matrix in matrices], streams)
