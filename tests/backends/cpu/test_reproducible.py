"""Logits have the same bits for every instruction set, number of threads, batch, prompt chunk and cache block size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from tests.backends.cpu.random_models import CONFIGS, batch_of, logits_of, random_model

BLOCK = 8
PROMPTS = {name: np.random.default_rng(3).integers(0, config.vocab_size, 40) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module", autouse=True)
def all_threads_take_part():
    """All threads take part in each step, even with little work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)
        yield


@pytest.fixture(scope="module", params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def weights(name):
    return random_model(CONFIGS[name])


@pytest.fixture(scope="module")
def backend(name, weights):
    return CPUBackend(CONFIGS[name], weights, threads=2)


@pytest.fixture(scope="module")
def expected(name, backend):
    return logits_of(backend, PROMPTS[name])


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_instruction_sets_and_threads(name, weights, expected, isa, threads):
    backend = CPUBackend(CONFIGS[name], weights, isa=isa, threads=threads)
    assert (backend.isa, backend.threads) == (isa, threads)
    np.testing.assert_array_equal(logits_of(backend, PROMPTS[name]), expected)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(cuts=st.sets(st.integers(1, 39), max_size=6), block_size=st.integers(1, 20), seed=st.integers(0, 999))
def test_chunks_and_cache_blocks(name, backend, expected, cuts, block_size, seed):
    blocks = -(-40 // block_size)
    table = np.random.default_rng(seed).permutation(blocks + 3)[:blocks]
    backend.allocate(blocks + 3, block_size)
    edges = [0, *sorted(cuts), 40]
    for begin, end in itertools.pairwise(edges):
        logits = backend.forward(batch_of([(PROMPTS[name][begin:end], begin, table)]))
        np.testing.assert_array_equal(logits, expected[begin:end])


def test_token_by_token(name, backend, expected):
    backend.allocate(5, BLOCK)
    for position, token in enumerate(PROMPTS[name]):
        logits = backend.forward(batch_of([([token], position, range(5))]))
        np.testing.assert_array_equal(logits[0], expected[position])


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12), place=st.integers(0, 12), seed=st.integers(0, 999)
)
def test_neighbours_in_the_batch(name, backend, expected, lengths, place, seed):
    """The first part of the prompt is in the cache; the other part is in a batch with other sequences."""
    rng = np.random.default_rng(seed)
    others = [rng.integers(0, CONFIGS[name].vocab_size, length) for length in lengths]
    backend.allocate(5 + 4 * len(others), BLOCK)
    backend.forward(batch_of([(PROMPTS[name][:17], 0, range(5))], []))
    parts = [(ids, 0, range(5 + 4 * i, 9 + 4 * i)) for i, ids in enumerate(others)]
    place = min(place, len(parts))
    parts.insert(place, (PROMPTS[name][17:], 17, range(5)))
    first = sum(lengths[:place])
    logits = backend.forward(batch_of(parts, range(first, first + 23)))
    np.testing.assert_array_equal(logits, expected[17:])


def test_two_sequences_share_a_prefix(name, backend, expected):
    backend.allocate(7, BLOCK)
    backend.forward(batch_of([(PROMPTS[name][:16], 0, [0, 1])], []))
    parts = [(PROMPTS[name][16:], 16, [0, 1, 2, 3, 4]), (PROMPTS[name][16:20], 16, [0, 1, 5])]
    logits = backend.forward(batch_of(parts))
    np.testing.assert_array_equal(logits, np.concatenate([expected[16:], expected[16:20]]))


def test_prompt_longer_than_an_internal_chunk(name, backend):
    prompt = np.random.default_rng(8).integers(0, CONFIGS[name].vocab_size, 530)
    whole = logits_of(backend, prompt)
    backend.allocate(34, 16)
    for begin in range(0, 530, 131):
        end = min(530, begin + 131)
        logits = backend.forward(batch_of([(prompt[begin:end], begin, range(34))]))
        np.testing.assert_array_equal(logits, whole[begin:end])


def test_logit_rows_select_the_rows(name, backend, expected):
    backend.allocate(5, BLOCK)
    logits = backend.forward(batch_of([(PROMPTS[name], 0, range(5))], [0, 7, 39]))
    np.testing.assert_array_equal(logits, expected[[0, 7, 39]])
    assert backend.forward(batch_of([(PROMPTS[name], 0, range(5))], [])).shape == (0, CONFIGS[name].vocab_size)
