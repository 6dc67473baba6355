"""The timed steps are those that the settings ask for, as a backend sees them that records its batches."""

from __future__ import annotations

import pytest

from bitnet_tt.bench.measure.workload import Workload, context_length
from bitnet_tt.energy import EnergyCounters, Stopwatch
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


def workload(backend: FakeBackend, context: int, batch: int) -> Workload:
    return Workload(backend, VOCAB_SIZE, prompt_length=20, context=context, new_tokens=6, batch=batch)


def test_a_prompt_is_one_step(backend: FakeBackend) -> None:
    watch = Stopwatch(EnergyCounters())
    workload(backend, 8, 1).prefill(20, watch)
    assert [len(batch.token_ids) for batch in backend.batches] == [20]
    assert len(watch.seconds) == 1


@pytest.mark.parametrize(("context", "batch"), [(8, 1), (300, 5), (600, 3)])
def test_decode_steps_have_one_token_of_each_sequence_after_its_context(
    backend: FakeBackend, context: int, batch: int
) -> None:
    work = workload(backend, context, batch)
    for _ in range(2):  # the second time the prompts are in the cache
        backend.batches.clear()
        watch = Stopwatch(EnergyCounters())
        work.decode(batch, watch)
        assert len(watch.seconds) == 1
        timed = backend.batches[-6:]
        assert all(len(step.token_ids) == len(step.logit_rows) == batch for step in timed)
        assert all((step.positions >= context).all() for step in timed)
        assert max(step.positions.max() for step in timed) < context_length(20, context, 6, batch)
        assert (timed[-1].positions - timed[0].positions == 5).all()
