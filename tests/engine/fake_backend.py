"""A backend whose next token is a checksum of the whole text, which it reads back through the block tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import NEXT, BackendStats, Batch, Candidates, LateMask, LogitFilter, PhaseTime, StepResult
from bitnet_tt.backends.masks import ids_of
from bitnet_tt.sampling.random import winner

VOCAB_SIZE = 97


def next_token(tokens: list[int]) -> int:
    """Return the token that the fake model picks after these tokens."""
    checksum = 7
    for token in tokens:
        checksum = (checksum * 31 + token + 1) % 1_000_003
    return checksum % VOCAB_SIZE


def late(mask: NDArray[np.uint32] | None) -> LateMask | None:
    """Return a mask as filters have it."""
    return None if mask is None else lambda: mask


class Missing:
    """The logits that `passing` left out.

    Args:
        logits: The whole row.
        slack: How far the bounds are above the logits.
        has_winner: See `MissingLogits`.
    """

    def __init__(self, logits: NDArray[np.float32], slack: float, *, has_winner: bool) -> None:
        self.has_winner = has_winner
        self.computed = 0
        self._logits = logits
        self._slack = np.float32(slack)

    def upper_bounds(self) -> NDArray[np.float32]:
        return self._logits + self._slack

    def compute(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        self.computed += len(token_ids)
        return self._logits[token_ids]


def passing(
    logits: NDArray[np.float32], logit_filter: LogitFilter, *, slack: float = 0.0, has_winner: bool = True
) -> Candidates:
    """Return the logits that pass a filter, and no others. `Missing` has the last two arguments."""
    if logit_filter.passes_all:
        return Candidates(logits)
    allowed = None if logit_filter.allowed is None else logit_filter.allowed()
    ids = np.arange(len(logits)) if allowed is None else ids_of(allowed, len(logits))
    always = np.intersect1d(ids, [] if logit_filter.always is None else logit_filter.always)
    others, noise = np.setdiff1d(ids, always), logit_filter.noise
    count = logit_filter.count if logit_filter.count or noise is None else 1
    best = others[np.argsort(-logits[others], kind="stable")[:count]]
    if noise is not None and has_winner and len(others):
        best = np.append(best, others[winner(logits[others], others, noise)])
    token_ids = np.union1d(best, always).astype(np.int64)
    missing = None if noise is None else Missing(logits, slack, has_winner=has_winner)
    return Candidates(logits[token_ids], token_ids, missing)


class FakeBackend:
    """Keeps token ids in its cache blocks, so that any mistake in paging or positions changes the text."""

    description = "fake"

    def __init__(self) -> None:
        self.closings = 0
        self.batches: list[Batch] = []
        self.filters: list[list[LogitFilter]] = []
        self.last_logits = np.empty((0, 0), np.float32)

    def allocate(self, num_blocks: int, block_size: int) -> None:
        self.cache = np.full((num_blocks, block_size), -1)

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        self.batches.append(batch)
        self.last_logits.fill(np.nan)  # logits are valid until the next call only
        block_size = self.cache.shape[1]
        logits = {}
        for row, position in enumerate(batch.positions):
            table = batch.block_tables[row]
            for index in range(batch.starts[row], batch.starts[row + 1]):
                at = int(position + index - batch.starts[row])
                self.cache[table[at // block_size], at % block_size] = batch.token_ids[index]
                text = [int(self.cache[table[p // block_size], p % block_size]) for p in range(at + 1)]
                logits[index] = np.eye(VOCAB_SIZE, dtype=np.float32)[self.next_token(text)]
        rows = [logits[int(row)] for row in batch.logit_rows]
        self.last_logits = np.stack(rows) if rows else np.empty((0, 0), np.float32)
        return self.last_logits

    def next_token(self, text: list[int]) -> int:
        return next_token(text)

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        self.filters.append(list(filters))
        return [passing(row, one) for row, one in zip(self.forward(batch), filters, strict=True)]

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        return self.forward(batch).copy()

    def start(self, batch: Batch) -> StepResult | None:
        return None

    def stats(self) -> BackendStats:
        return BackendStats()

    def warm_up(self, max_sequences: int, progress: Callable[[int, int], None]) -> None:
        pass

    def start_profile(self) -> None:
        pass

    def stop_profile(self) -> list[PhaseTime]:
        return []

    def close(self) -> None:
        self.closings += 1


class QueueingBackend(FakeBackend):
    """Runs steps ahead, as late as it may: only when a result is read, or another step is run.

    It checks what `Backend.start` demands, and that the tokens of the step before are those of the next one's rows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0  # how many steps were started before the one before them was read
        self._queue: list[tuple[Batch, list[list[Candidates]]]] = []  # the started steps that have not run
        self._unread = 0
        self._last: tuple[Batch, NDArray[np.int32]] | None = None  # the last step that ran, and its best tokens

    def start(self, batch: Batch) -> StepResult | None:
        assert (np.diff(batch.starts) == 1).all()
        assert len(batch.logit_rows) == len(batch.token_ids)
        assert self._unread < 2
        assert self._unread == int((batch.token_ids == NEXT).all()) == int((batch.token_ids == NEXT).any())
        self.ahead += self._unread
        self._unread += 1
        result: list[list[Candidates]] = []
        self._queue.append((batch, result))

        def read() -> list[Candidates]:
            try:
                self._run_queue()
            except BaseException:
                self._queue, self._unread = [], 0
                raise
            self._unread -= 1
            return result.pop()

        return read

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        assert not self._unread
        return super().candidates(batch, filters)

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        assert not self._unread
        return super().hidden(batch)

    def _run_queue(self) -> None:
        batch, result = self._queue.pop(0)
        if batch.token_ids[0] == NEXT:
            assert self._last is not None
            before, tokens = self._last
            np.testing.assert_array_equal(batch.positions, before.positions + 1)
            batch = replace(batch, token_ids=tokens)
        rows = self.forward(batch)
        self._last = batch, rows.argmax(axis=1).astype(np.int32)
        result.append([passing(row.copy(), LogitFilter(1)) for row in rows])


class RepeatingBackend(FakeBackend):
    """Its texts repeat themselves, with a different token now and then.

    Args:
        step_seconds: The time of each step, with any number of rows.
    """

    def __init__(self, step_seconds: float = 0.0) -> None:
        super().__init__()
        self.step_seconds = step_seconds

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        time.sleep(self.step_seconds)
        return super().forward(batch)

    def next_token(self, text: list[int]) -> int:
        token = super().next_token(text)
        return token if token % 7 == 0 else text[-min(len(text), 5)]


class GatedBackend(FakeBackend):
    """Each step waits until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        self.entered.set()
        assert self.gate.wait(timeout=60)
        return super().forward(batch)


class SlowBackend(FakeBackend):
    """A step takes a fixed time, and more for each token."""

    def __init__(self, step_seconds: float, token_seconds: float) -> None:
        super().__init__()
        self.step_seconds, self.token_seconds = step_seconds, token_seconds
        self.seconds: list[float] = []

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        seconds = self.step_seconds + self.token_seconds * len(batch.token_ids)
        self.seconds.append(seconds)
        time.sleep(seconds)
        return super().forward(batch)
