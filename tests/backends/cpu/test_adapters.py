"""Low-rank adapters (LoRA): the reference's numbers, with the same bits however they are computed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt import reference
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.reference.compare import compare_logits
from tests.backends.cpu.random_models import CONFIGS, batch_of, logits_of, random_adapters, random_model

PROMPT = np.random.default_rng(5).integers(0, 300, 40)


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def plain(config):
    return random_model(config)


@pytest.fixture(scope="module")
def weights(config, plain):
    return random_adapters(config, plain)


@pytest.fixture(scope="module")
def expected(config, weights):
    return logits_of(CPUBackend(config, weights, threads=1), PROMPT)


@pytest.fixture(autouse=True)
def all_threads_take_part(monkeypatch):
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)


def test_logits_are_those_of_the_reference(config, plain, weights, expected):
    logits = reference.forward(config, weights, PROMPT)
    assert compare_logits(expected, logits).correlation >= 0.999
    assert compare_logits(expected, reference.forward(config, plain, PROMPT)).correlation < 0.99


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 3])
def test_instruction_sets_and_threads(config, weights, expected, isa, threads):
    np.testing.assert_array_equal(logits_of(CPUBackend(config, weights, isa=isa, threads=threads), PROMPT), expected)


def test_parts_of_a_prompt_and_moved_layers(config, weights, expected):
    backend = CPUBackend(config, weights, threads=2)
    backend.allocate(3, 16)
    for begin, end in itertools.pairwise([0, 7, 8, 25, 40]):
        logits = backend.forward(batch_of([(PROMPT[begin:end], begin, range(3))]))
        np.testing.assert_array_equal(logits, expected[begin:end])
    backend.warm_up(1, lambda done, total: None)
    np.testing.assert_array_equal(logits_of(backend, PROMPT), expected)


def test_an_adapter_that_adds_zero_changes_no_bit(config, plain, weights):
    """The gate is activated apart from its product, by the same operations."""
    nothing = [
        replace(
            layer,
            adapters={name: replace(one, b=np.zeros_like(one.b)) for name, one in layer.adapters.items()},
        )
        for layer in weights.layers
    ]
    backend = CPUBackend(config, replace(plain, layers=tuple(nothing)), threads=2)
    np.testing.assert_array_equal(logits_of(backend, PROMPT), logits_of(CPUBackend(config, plain, threads=2), PROMPT))
