"""A stall is read off the tokens of running texts, which the engine computes while it reads a prompt."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt.backends.base import Batch
from bitnet_tt.bench.measure.stall import Gaps, length, measure_stalls
from bitnet_tt.errors import BenchmarkError
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend

TOKEN_SECONDS = 0.0005


class SlowBackend(FakeBackend):
    """A step takes a time for each of its tokens, so that reading a prompt stalls the texts that run."""

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        time.sleep(TOKEN_SECONDS * len(batch.token_ids))
        return super().forward(batch)

    def next_token(self, text: list[int]) -> int:
        return len(text) % VOCAB_SIZE


def test_gaps_are_sorted_by_the_time_of_the_prompt() -> None:
    times = [[0.0, 1.0, 2.0, 3.0, 7.0, 8.0, 9.0], [0.5, 1.5, 2.5, 6.5, 7.5, 8.5]]
    gaps = Gaps(times, new_tokens=2, begin=3.2, end=7.2)
    assert gaps.alone == [1.0, 1.0, 1.0, 1.0]  # the last two of each text before the prompt
    assert gaps.beside == [4.0, 1.0, 4.0, 1.0]  # those that overlap its reading
    assert gaps.prompt_s == pytest.approx(4.0)


def test_a_prompt_is_read_beside_each_number_of_texts() -> None:
    backend = SlowBackend()
    stalls = measure_stalls(
        backend, VOCAB_SIZE, (1, 3), threads=2, context=4, prompt_length=40, new_tokens=3, repeats=2
    )
    assert [(one.threads, one.texts, one.context, one.prompt_length) for one in stalls] == [
        (2, 1, 4, 40),
        (2, 3, 4, 40),
    ]
    for one in stalls:
        assert one.step_s >= TOKEN_SECONDS * one.texts
        assert one.longest_gap_s >= one.step_beside_s > 0
        assert one.prompt_s >= TOKEN_SECONDS * one.prompt_length
    beside = [batch for batch in backend.batches if len(batch.token_ids) - len(batch.logit_rows) >= 16]
    assert {len(batch.positions) for batch in beside} >= {2, 4}  # all texts run while the prompt is read
    assert backend.closings == 1


def test_texts_stay_within_the_room_that_is_asked_for() -> None:
    backend = SlowBackend()
    measure_stalls(backend, VOCAB_SIZE, (2,), threads=1, context=8, prompt_length=20, new_tokens=2, repeats=1)
    assert max(batch.positions.max() for batch in backend.batches) < length(2, 8, 20, 2)


def test_a_failed_step_ends_the_measurement() -> None:
    class Broken(FakeBackend):
        def forward(self, batch: Batch) -> NDArray[np.float32]:
            raise BenchmarkError("the device is gone")

    with pytest.raises(BenchmarkError, match="the device is gone"):
        measure_stalls(Broken(), VOCAB_SIZE, (1,), threads=1, context=4, prompt_length=4, new_tokens=1, repeats=1)
