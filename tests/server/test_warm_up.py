"""Before a server is ready, a device prepares for its steps and is compared with the CPU; a wrong device is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.backends.options import BackendOptions
from bitnet_tt.errors import DeviceError
from bitnet_tt.server.warm_up import warm_up


@pytest.fixture
def model() -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained("demo", context_length=80, max_batch_size=3) as model:
        yield model


@pytest.fixture
def warmed(model: BitNetModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of sequences that the backend has prepared for."""
    seen: list[int] = []

    def record(max_sequences: int, progress: Callable[[int, int], None]) -> None:
        seen.append(max_sequences)
        progress(7, 7)

    monkeypatch.setattr(model.backend, "warm_up", record)
    return seen


def test_a_device_is_prepared_and_then_compared(
    model: BitNetModel, warmed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    calls: list[tuple[int, int]] = []
    warm_up(model, 3, lambda done, total: calls.append((done, total)))
    assert warmed == [3]
    assert calls == [(7, 7)]


def test_the_cpu_needs_neither(model: BitNetModel, warmed: list[int]) -> None:
    warm_up(model, 3)
    assert warmed == []


def test_a_device_that_computes_wrong_is_refused(
    model: BitNetModel, warmed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = model.logits
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    monkeypatch.setattr(model, "logits", lambda token_ids: -right(token_ids))
    with pytest.raises(DeviceError, match="computes wrong"):
        warm_up(model, 3)
    assert warmed == [3]
