"""The program of the lm_head, on a simulator or a card: against float64, and against NumPy's choice of logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.device.weights import StreamedWeights, load_lm_head
from bitnet_tt.backends.tt.ops.lm_head.op import lm_head
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP8_TILE_BYTES, TILE
from bitnet_tt.backends.tt.planning.plan import HeadOutput
from bitnet_tt.backends.tt.planning.streams import deal
from bitnet_tt.backends.tt.step.candidates import NO_TOKEN
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16
from tests.device.tensors import strips

EPS = 1e-5
type _Run = Callable[..., tuple[NDArray[np.float32], NDArray[np.uint32]]]

CORRELATION = {"exact": 0.9999998, "fast": 0.99996}


def check_head(hidden: int, vocab: int, cores: int | None, precision: Precision) -> None:
    """Compare logits with float64, rows in strips with a tile of rows, and the largest logits with NumPy's."""
    card, random = open_cards()[0], np.random.default_rng(hidden)
    try:
        head = random.standard_normal((vocab, hidden)).astype(np.float32)
        x, gain = random.standard_normal((TILE, hidden)) * 3, random.uniform(0.5, 1.5, hidden)
        x[0] = np.abs(x[0])
        run = partial(_run, card, x.astype(np.float32), gain.astype(np.float32), precision)
        weights = _on_card(card, head, cores, precision)
        rows, _ = run(None, weights, HeadOutput(1, True), vocab)
        normed = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPS) * gain
        expected = normed @ bfloat16_to_float32(float32_to_bfloat16(head)).T.astype(np.float64)
        assert np.corrcoef(rows.ravel(), expected.ravel())[0, 1] > CORRELATION[precision]
        for lines in (1, 4, 8):
            found, _ = run(lines, weights, HeadOutput(None, True), vocab)
            np.testing.assert_array_equal(found, rows[:lines])
        # Few distinct rows, so that many logits are equal; some are zero.
        tied = head[random.integers(0, 7, vocab)] * (random.uniform(size=(vocab, 1)) > 0.2)
        # The logits of row 0 are all negative.
        negative = -np.abs(head)
        for some in (weights, *(_on_card(card, each, cores, precision) for each in (tied, negative))):
            _check_largest(run, some, vocab)
    finally:
        card.close()


def _check_largest(run: _Run, some: StreamedWeights, vocab: int) -> None:
    """Of equal logits, the lowest ids come first. The vocabulary ends within a part, and within a tile."""
    part = some.streams.passes * some.streams.columns * TILE
    for lines, count in ((None, 1), (None, 8), (4, 8), (1, 64)):
        rows, top = run(lines, some, HeadOutput(count, True), vocab)
        for row, entries in zip(rows, top.swapaxes(0, 1), strict=True):
            for first, found in zip(range(0, vocab, part), entries, strict=True):
                ids = first + np.argsort(-row[first : first + part], kind="stable")[:count]
                np.testing.assert_array_equal(found[:, 1], np.pad(ids, (0, count - len(ids)), constant_values=NO_TOKEN))
                np.testing.assert_array_equal(found[: len(ids), 0], row[ids].view(np.uint32))


def _on_card(card: Card, head: NDArray[np.float32], cores: int | None, precision: Precision) -> StreamedWeights:
    grid = card.grid if cores is None else replace(card.grid, x=cores, y=1)
    tile_bytes = TILE * TILE * BFLOAT16_BYTES if precision == "exact" else BFP8_TILE_BYTES
    streams = deal(head.shape[1] // TILE, -(-len(head) // TILE), grid, gated=False, tile_bytes=tile_bytes)
    return load_lm_head(card, float32_to_bfloat16(head), streams)


def _run(
    card: Card,
    x: NDArray[np.float32],
    gain: NDArray[np.float32],
    precision: Precision,
    lines: int | None,
    weights: StreamedWeights,
    output: HeadOutput,
    vocab: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return logits [rows, vocab] and entries [parts, rows, count, 2] of rows in strips, or of a tile of rows."""
    norm = Norm.load(card, gain, EPS)
    if lines is None:
        dtype = ttnn.float32 if precision == "exact" else ttnn.bfloat16
        tile = normalize(card.tiles(x[None, None], ttnn.float32), norm, dtype)
        logits, top = lm_head(tile, None, weights, output, rows=TILE, vocab_size=vocab)
    else:
        in_strips = strips(card, x[:lines], lines)
        logits, top = lm_head(in_strips, norm, weights, output, rows=lines, vocab_size=vocab)
    rows = logits.cpu().to_numpy()[:, :vocab]
    count = output.top_count or 0
    entries = np.zeros((0,), np.uint32) if top is None else top.cpu().to_numpy()
    return rows, entries.reshape(weights.streams.cores if count else 0, len(rows), count, 2)
