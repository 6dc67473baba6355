"""A closed CPUBackend frees its memory and refuses every call; no two calls run at the same time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.errors import DeviceError
from tests.backends.cpu.random_models import BITNET, batch_of, random_model

BATCH = batch_of([([5, 7, 300], 0, range(2))])
CALLS: dict[str, Callable[[CPUBackend], object]] = {
    "description": lambda backend: backend.description,
    "threads": lambda backend: backend.threads,
    "isa": lambda backend: backend.isa,
    "stats": lambda backend: backend.stats(),
    "allocate": lambda backend: backend.allocate(2, 16),
    "forward": lambda backend: backend.forward(BATCH),
    "candidates": lambda backend: backend.candidates(BATCH, [LogitFilter(count=1)] * 3),
    "hidden": lambda backend: backend.hidden(BATCH),
    "start": lambda backend: backend.start(BATCH),
    "warm_up": lambda backend: backend.warm_up(1, lambda done, total: None),
    "start_profile": lambda backend: backend.start_profile(),
    "stop_profile": lambda backend: backend.stop_profile(),
}


@pytest.fixture
def backend() -> CPUBackend:
    backend = CPUBackend(BITNET, random_model(BITNET), threads=2)
    backend.allocate(2, 16)
    return backend


def test_calls_are_all_public_names() -> None:
    assert {name for name in vars(CPUBackend) if not name.startswith("_")} == {*CALLS, "close"}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_works_before_close(backend: CPUBackend, name: str) -> None:
    CALLS[name](backend)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_after_close_raises(backend: CPUBackend, name: str) -> None:
    backend.close()
    with pytest.raises(DeviceError, match="this CPU backend is closed; load the model again"):
        CALLS[name](backend)


class InterruptedBatch:
    """A batch that calls `action` when a step reads its fields: another call during the step."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def __getattr__(self, field: str) -> object:
        self._action()
        return getattr(BATCH, field)


@pytest.mark.parametrize("name", ["description", "threads", "isa"])
def test_constants_can_be_read_during_a_step(backend: CPUBackend, name: str) -> None:
    batch: Any = InterruptedBatch(lambda: CALLS[name](backend))
    backend.forward(batch)


@pytest.mark.parametrize(
    "name", ["stats", "allocate", "forward", "candidates", "start_profile", "stop_profile", "close"]
)
def test_every_other_call_during_a_step_raises(backend: CPUBackend, name: str) -> None:
    call = CALLS.get(name, CPUBackend.close)
    batch: Any = InterruptedBatch(lambda: call(backend))
    with pytest.raises(DeviceError, match="running a step in another thread"):
        backend.forward(batch)
    backend.forward(BATCH)


def test_closing_twice_does_nothing(backend: CPUBackend) -> None:
    backend.close()
    backend.close()


def test_logits_stay_readable_after_close(backend: CPUBackend) -> None:
    logits = backend.forward(BATCH)
    kept = logits.copy()
    backend.close()
    np.testing.assert_array_equal(logits, kept)


def test_missing_logits_raise_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    screened = CPUBackend(BITNET, random_model(BITNET))
    screened.allocate(2, 16)
    filters = [LogitFilter(noise=Noise(1, 2, 0, 1.0))] * 3
    screened.candidates(BATCH, filters)  # the first step computes whole rows
    row, *_ = screened.candidates(BATCH, filters)
    assert row.missing is not None
    token_ids = np.arange(3)
    assert row.missing.upper_bounds().shape == (BITNET.vocab_size,)
    assert row.missing.compute(token_ids).shape == (3,)
    screened.close()
    with pytest.raises(DeviceError, match="closed"):
        row.missing.upper_bounds()
    with pytest.raises(DeviceError, match="closed"):
        row.missing.compute(token_ids)
