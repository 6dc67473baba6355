"""Before a server is ready, a device computes common shapes; the CPU computes none, and a wrong device is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.backends.options import BackendOptions
from bitnet_tt.errors import DeviceError
from bitnet_tt.server.warm_up import batch_sizes, lengths, warm_up


@pytest.fixture
def model() -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained("demo", context_length=80, max_batch_size=3) as model:
        yield model


@pytest.fixture
def prompts(model: BitNetModel, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The lengths of the prompts of each batch that is generated."""
    seen: list[list[int]] = []
    generate = model.generate

    def record(batch: list[list[int]], **options: object) -> object:
        seen.append([len(prompt) for prompt in batch])
        return generate(batch, **options)

    monkeypatch.setattr(model, "generate", record)
    return seen


def test_every_number_of_texts_and_length_is_computed(
    model: BitNetModel, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    calls: list[tuple[int, int]] = []
    warm_up(model, 3, lambda done, total: calls.append((done, total)))
    expected = [[1], [1, 1], [1, 1, 1], [32], [40], [48], [56], [64]]
    assert prompts == [batch for batch in expected for _ in ("greedy", "sampled")]
    assert calls == [(done, len(expected)) for done in range(len(expected) + 1)]


def test_the_cpu_computes_nothing(model: BitNetModel, prompts: list[list[int]]) -> None:
    warm_up(model, 3)
    assert prompts == []


def test_a_device_that_computes_wrong_is_refused(
    model: BitNetModel, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = model.logits
    monkeypatch.setattr(model, "options", BackendOptions("tt"))
    monkeypatch.setattr(model, "logits", lambda token_ids: -right(token_ids))
    with pytest.raises(DeviceError, match="computes wrong"):
        warm_up(model, 3)
    assert prompts == []


def test_sizes_and_lengths() -> None:
    assert batch_sizes(1) == [1]
    assert batch_sizes(8) == [1, 2, 4, 8]
    assert batch_sizes(20) == [1, 2, 4, 8, 16, 20]
    assert list(lengths(100)) == [32, 40, 48, 56, 64, 80, 96]
    assert list(lengths(20)) == []
