"""The profile accounts for a step's time and bytes; bandwidth and int8 peak are measured for any instruction set."""

import time

import numpy as np
import pytest

from bitnet_tt import _native
from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from tests.backends.cpu.random_models import BITNET, batch_of, random_model

STEPS = 5


@pytest.fixture(scope="module", params=[1, 2])
def backend(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)  # all threads take part
        backend = CPUBackend(BITNET, random_model(BITNET), threads=request.param)
    backend.allocate(8, 16)
    return backend


def steps(backend):
    for position in range(STEPS):
        backend.forward(batch_of([([7], position, range(8))]))


def test_profile_adds_up(backend):
    begin = time.perf_counter()
    backend.start_profile()
    steps(backend)
    phases = {phase.name: phase for phase in backend.stop_profile()}
    elapsed = time.perf_counter() - begin
    assert 0 < sum(phase.seconds for phase in phases.values()) <= elapsed
    assert all(0 <= phase.waiting <= phase.seconds for phase in phases.values())
    layers, hidden, inner = BITNET.num_hidden_layers, BITNET.hidden_size, BITNET.intermediate_size
    assert phases["down"].calls == STEPS * layers
    assert phases["down"].bytes_read == STEPS * layers * hidden * inner // 4
    assert phases["gate, up"].bytes_read == 2 * phases["down"].bytes_read
    head_bytes = -(-BITNET.head_dim // 16) * 16 * 4
    positions = STEPS * (STEPS + 1) // 2
    assert phases["attend"].bytes_read == layers * positions * 2 * BITNET.num_key_value_heads * head_bytes
    assert phases["head"].calls == STEPS
    assert phases["head"].bytes_read == STEPS * 2 * BITNET.vocab_size * hidden


def test_profile_has_every_phase_in_the_order_of_a_step(backend):
    backend.start_profile()
    steps(backend)
    layer_steps = STEPS * BITNET.num_hidden_layers
    assert [(phase.name, phase.calls) for phase in backend.stop_profile()] == [
        ("embed", STEPS),
        ("quantize attention input", layer_steps),
        ("query, key, value", layer_steps),
        ("rotate", layer_steps),
        ("attend", layer_steps),
        ("quantize attention", layer_steps),
        ("output", layer_steps),
        ("quantize ffn input", layer_steps),
        ("gate, up", layer_steps),
        ("quantize ffn", layer_steps),
        ("down", layer_steps),
        ("final norm", STEPS),
        ("head", STEPS),
    ]


def test_profile_counts_a_whole_row_after_candidates_to_the_head(monkeypatch):
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    backend = CPUBackend(BITNET, random_model(BITNET), threads=1)
    backend.allocate(8, 16)
    filters = [LogitFilter(noise=Noise(1, 2, 0, 1.0))]
    backend.candidates(batch_of([([7], 0, range(8))]), filters)  # the first step computes whole rows
    backend.start_profile()
    for position in range(STEPS):
        (row,) = backend.candidates(batch_of([([7], position, range(8))]), filters)
        row.missing.compute(np.arange(BITNET.vocab_size))
    phases = {phase.name: phase for phase in backend.stop_profile()}
    assert phases["head"].calls == 2 * STEPS
    assert all(0 <= phase.waiting <= phase.seconds for phase in phases.values())


def test_profile_counts_only_the_steps_between_start_and_stop(backend):
    steps(backend)
    backend.start_profile()
    assert not any(phase.calls or phase.seconds for phase in backend.stop_profile())
    backend.start_profile()
    steps(backend)
    backend.start_profile()
    assert not any(phase.calls or phase.seconds for phase in backend.stop_profile())
    steps(backend)
    assert not any(phase.calls for phase in backend.stop_profile())


@pytest.mark.parametrize("isa", available_isas())
def test_int8_peak(isa):
    peaks = _native.measure_int8_peak(2, isa, seconds=0.001, passes=3)
    assert len(peaks) == 3
    assert min(peaks) > 1e7


def test_read_bandwidth():
    rates = _native.measure_read_bandwidth(2, 8 << 20, passes=3)
    assert len(rates) == 3
    assert min(rates) > 1e7


def test_measurements_refuse_zero_threads():
    with pytest.raises(ValueError, match="at least 1"):
        _native.measure_read_bandwidth(0, 1 << 20)
    with pytest.raises(ValueError, match="at least 1"):
        _native.measure_int8_peak(0, "")
