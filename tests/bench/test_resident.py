"""The sizes of the CPU backend's memory, against what the backend says that it reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.base import Cut
from bitnet_tt.backends.cpu import CPUBackend
from bitnet_tt.bench.resident import kv_cache_bytes, screen_bytes
from tests.backends.cpu.random_models import LLAMA, batch_of, random_model

CONFIG = replace(LLAMA, vocab_size=2503)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> CPUBackend:
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend._SMALL_HEAD", 0)
    backend = CPUBackend(CONFIG, random_model(CONFIG))
    backend.allocate(1, 8)
    return backend


def test_a_step_that_wants_every_logit_reads_the_whole_screen(backend: CPUBackend) -> None:
    batch = batch_of([([3], 0, [0])], [0])
    for _ in range(2):
        backend.candidates(batch, [Cut(margin=1e6)])  # the first step does without
    assert backend.head_bytes_read == screen_bytes(CONFIG) + CONFIG.vocab_size * 2 * CONFIG.hidden_size


def test_the_first_position_reads_what_one_position_takes(backend: CPUBackend) -> None:
    backend.start_profile()
    backend.forward(batch_of([([3], 0, [0])], [0]))
    (attend,) = (phase for phase in backend.stop_profile() if phase.name == "attend")
    assert attend.bytes_read == kv_cache_bytes(CONFIG, 1)
