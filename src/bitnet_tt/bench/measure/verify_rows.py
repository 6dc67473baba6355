"""The time of a step with several rows: of one sequence, as in verifying drafts, and of several sequences."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend, Batch, LogitFilter
from bitnet_tt.bench.report.extra_results import RowsCost
from bitnet_tt.engine import BLOCK_SIZE

ROWS = (1, 2, 4, 8)
"""Rows of a step. A draft of 7 tokens fills the most."""

CONTEXT = 128
"""The context at which rows are always measured."""

_SHAPES = (*((1, rows) for rows in ROWS), *((sequences, 1) for sequences in ROWS[1:]))
"""Sequences, and rows of each. The first is what the others are compared with."""

_PROMPT_TOKENS = 512
_BEST = LogitFilter(count=1)


def measure_rows(
    backend: Backend, vocab_size: int, contexts: Iterable[int], *, threads: int, rounds: int
) -> tuple[RowsCost, ...]:
    """Return the time of each kind of step after each context.

    The kinds take turns, so that a machine that gets slower or faster meanwhile does so for all of them. Each step is
    computed again and again: it writes the same keys and values to the same places.

    Args:
        backend: The model. It gets a new cache.
        vocab_size: Tokens are random ids below this.
        contexts: Tokens of each sequence before the rows.
        threads: CPU threads, for the result.
        rounds: How often each kind of step is timed.
    """
    return tuple(cost for context in contexts for cost in _measure(backend, vocab_size, context, threads, rounds))


def length(context: int) -> int:
    """Return the length of the longest sequence, in tokens."""
    return context + ROWS[-1]


def _measure(backend: Backend, vocab_size: int, context: int, threads: int, rounds: int) -> list[RowsCost]:
    sequences = ROWS[-1]
    blocks = -(-length(context) // BLOCK_SIZE)
    backend.allocate(sequences * blocks, BLOCK_SIZE)
    tables = np.arange(sequences * blocks, dtype=np.int32).reshape(sequences, blocks)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, vocab_size, (sequences, length(context))).astype(np.int32)
    for row in range(sequences):
        for start in range(0, context, _PROMPT_TOKENS):
            end = min(start + _PROMPT_TOKENS, context)
            backend.candidates(_batch(tokens[row : row + 1, start:end], start, tables[row : row + 1], logits=False), [])
    steps = {
        (count, rows): _batch(tokens[:count, context : context + rows], context, tables[:count], logits=True)
        for count, rows in _SHAPES
    }
    seconds: dict[tuple[int, int], list[float]] = {shape: [] for shape in steps}
    for turn in range(rounds + 1):
        for shape, batch in steps.items():
            start_s = time.perf_counter()
            backend.candidates(batch, [_BEST] * len(batch.logit_rows))
            if turn:  # the first round fills the caches
                seconds[shape].append(time.perf_counter() - start_s)
    medians = {shape: median(times) for shape, times in seconds.items()}
    one = medians[_SHAPES[0]]
    return [
        RowsCost(threads, context, count, rows, medians[count, rows], medians[count, rows] / one)
        for count, rows in _SHAPES
    ]


def _batch(tokens: NDArray[np.int32], position: int, tables: NDArray[np.int32], *, logits: bool) -> Batch:
    """Return a step with these tokens, int32 [sequences, tokens of each], all from the same position on."""
    sequences, rows = tokens.shape
    count = tokens.size if logits else 0
    return Batch(
        token_ids=np.ascontiguousarray(tokens).reshape(-1),
        starts=np.arange(0, tokens.size + 1, rows, dtype=np.int32),
        positions=np.full(sequences, position, np.int32),
        block_tables=np.ascontiguousarray(tables),
        logit_rows=np.arange(count, dtype=np.int32),
    )
