"""Steps of every shape, in NumPy: a device compiles its programs and records its traces before the first request.

The steps are run, not only compiled: the stock operations between our own have no way to be compiled alone, and a trace
is recorded from a step whose programs are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, MAX_TOP_COUNT, PREFILL_ROWS, Plan
from bitnet_tt.backends.tt.step.groups import SKIP, Group

_NOISE = Noise(seed=0, position=0, choice=0, temperature=1.0)
_GREEDY, _TOP_P = LogitFilter(1), LogitFilter(1, _NOISE)
_COMMON = (_GREEDY, _TOP_P)  # of most requests
_COUNTS = [1 << power for power in range(1, MAX_TOP_COUNT.bit_length())]
_RARE = (  # of top-k, of top-k beside top-p, and of plain temperature, log-probabilities or penalties
    *(LogitFilter(count) for count in _COUNTS),
    *(LogitFilter(count, _NOISE) for count in _COUNTS),
    LogitFilter(),
)


@dataclass(frozen=True, slots=True)
class WarmUpStep:
    """A step that is run for its programs alone. Its rows have no slots, so the KV cache stays as it is.

    Attributes:
        group: The step.
        limit: The filter of each of its logit rows.
        is_common: Whether to record a trace of it, if it is a decode step.
    """

    group: Group
    limit: LogitFilter
    is_common: bool


def warm_up_steps(plan: Plan, max_sequences: int) -> Iterator[WarmUpStep]:
    """Yield a step of each shape. Short contexts come last, because their traces are the first to be needed.

    Args:
        plan: The shapes.
        max_sequences: Maximum number of sequences that are decoded together.
    """
    ends = range(TILE, plan.context_length + TILE, TILE)
    contexts = sorted({plan.context_blocks(min(end, plan.context_length)) for end in ends}, reverse=True)
    sizes = sorted({plan.decode_bucket(count) for count in range(1, min(max_sequences, DECODE_ROWS) + 1)})
    filters = _different(plan)
    for blocks in contexts:
        end = min(blocks * TILE, plan.context_length)
        yield from (WarmUpStep(group, _GREEDY, False) for group in _prefill_groups(plan, end, blocks))
        for sequences in sizes:
            group = _group(True, np.full(DECODE_ROWS, end - 1), sequences, blocks, logit_rows=sequences)
            yield from (WarmUpStep(group, limit, limit in _COMMON) for limit in filters)
    # A prompt whose tokens are scored has many rows of logits.
    first, *_ = _prefill_groups(plan, min(TILE, plan.context_length), contexts[-1])
    for rows in sorted({plan.decode_bucket(count) for count in range(1, DECODE_ROWS + 1)}):
        for limit in filters:
            group = _group(False, first.positions[0], 1, contexts[-1], logit_rows=rows)
            yield WarmUpStep(group, limit, False)


def _different(plan: Plan) -> list[LogitFilter]:
    """Return filters that make the lm_head leave different things for the host: one for each."""
    outputs: dict[object, LogitFilter] = {}
    for limit in (*_COMMON, *_RARE):
        outputs.setdefault(plan.head_output([limit], rows_stay=True), limit)
    return list(outputs.values())


def _prefill_groups(plan: Plan, end: int, blocks: int) -> Iterator[Group]:
    """Yield a step for each number of rows of a prompt that ends at a position. The host reads its last logits."""
    for rows in sorted({plan.prefill_bucket(tokens) for tokens in range(1, min(end, PREFILL_ROWS) + 1)}):
        positions = np.minimum(max(end - rows, 0) + np.arange(rows), end - 1)
        yield _group(False, positions, 1, blocks, logit_rows=1)


def _group(decode: bool, positions: NDArray[np.integer[Any]], sequences: int, blocks: int, *, logit_rows: int) -> Group:
    shape = (1, len(positions))
    return Group(
        decode=decode,
        token_ids=np.zeros(shape, np.uint32),
        positions=positions.astype(np.uint32)[None],
        slots=np.full(shape, SKIP, np.uint32),
        table=np.zeros((sequences, blocks), np.uint32),
        logit_rows=np.arange(logit_rows),
        result_rows=np.arange(logit_rows),
    )
