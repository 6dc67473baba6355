"""CPUBackend refuses wrong arguments with clear errors, and uses weights where they are, at any alignment."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt.backends.base import FORKED, Batch
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.errors import CheckpointError, DeviceError, RequestError
from bitnet_tt.weights import ModelWeights, TernaryMatrix
from tests.backends.cpu.random_models import BITNET, LLAMA, batch_of, logits_of, random_model
from tests.forked import in_child

PROMPT = [5, 7, 300, 0, 12]


@pytest.fixture(scope="module")
def weights():
    return random_model(BITNET)


@pytest.fixture
def backend(weights):
    backend = CPUBackend(BITNET, weights, threads=2, context_length=64)
    backend.allocate(4, 16)
    return backend


def changed(**fields):
    batch = batch_of([(PROMPT, 0, range(4)), (PROMPT, 0, range(4))])
    return replace(batch, **{name: np.array(value, np.int32) for name, value in fields.items()})


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (batch_of([([1, 311], 0, range(4))]), "token id 311 is outside the vocabulary of 311"),
        (batch_of([([-1], 0, range(4))]), "token id -1"),
        (batch_of([([1, 2], 63, range(5))]), "65 tokens long; the context holds 64"),
        (batch_of([([1], 2**31 - 1, range(4))]), "the context holds 64"),
    ],
)
def test_request_errors(backend, batch, message):
    with pytest.raises(RequestError, match=message):
        backend.forward(batch)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (changed(starts=[0, 11, 10]), "starts must rise"),
        (changed(starts=[0, 0, 10]), "starts must rise"),
        (changed(starts=[0, 5, 9]), "starts must rise"),
        (changed(starts=[1, 5, 10]), "starts must rise"),
        (changed(starts=[0, -5, 10]), "starts must rise"),
        (changed(starts=[0, 10]), "number of sequences"),
        (changed(positions=[0, -1]), "position of sequence 1 is negative"),
        (changed(block_tables=[[0, 1, 2, 3], [4, 1, 2, 3]]), "block 4 of a cache of 4"),
        (changed(block_tables=[[-1], [0]]), "block -1"),
        (changed(positions=[0, 12], block_tables=[[0], [1]]), "needs a table of 2 blocks"),
        (changed(block_tables=[[0]]), "number of sequences"),
        (changed(logit_rows=[0, 10]), "logit_rows must rise within the tokens"),
        (changed(logit_rows=[-1]), "logit_rows"),
        (changed(logit_rows=[1, 1]), "logit_rows"),
        (changed(token_ids=[], starts=[0, 0, 0], logit_rows=[]), "no tokens"),
        (changed(token_ids=[], starts=[0], positions=[], block_tables=np.zeros((0, 1)), logit_rows=[]), "no tokens"),
    ],
)
def test_wrong_batches(backend, batch, message):
    with pytest.raises(ValueError, match=message):
        backend.forward(batch)
    assert logits_of(backend, PROMPT).shape == (5, 311)


def test_wrong_dtype(backend):
    batch = batch_of([(PROMPT, 0, range(4))])
    with pytest.raises(TypeError):
        backend.forward(replace(batch, token_ids=batch.token_ids.astype(np.int64)))


def test_forward_before_allocate(weights):
    with pytest.raises(ValueError, match="allocate"):
        CPUBackend(BITNET, weights).forward(batch_of([(PROMPT, 0, [0])]))


@pytest.mark.parametrize(("blocks", "size"), [(0, 16), (16, 0), (-1, 16)])
def test_empty_cache(backend, blocks, size):
    with pytest.raises(ValueError, match="at least 1"):
        backend.allocate(blocks, size)


def test_cache_larger_than_memory(backend):
    with pytest.raises(DeviceError, match=r"takes .* GiB; this process may have .* smaller context or batch"):
        backend.allocate(1 << 40, 1 << 20)
    assert logits_of(backend, PROMPT).shape == (5, 311)


def test_untouched_cache_costs_nothing(weights):
    backend = CPUBackend(BITNET, weights)
    before = resident_bytes()
    backend.allocate(100_000, 16)  # 4 GB
    backend.forward(batch_of([(PROMPT, 0, [77_777])]))
    assert resident_bytes() - before < 50e6


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("isa", ["sse9", "neon" if "neon" not in available_isas() else "avx2"])
def test_unknown_isa(weights, isa):
    with pytest.raises(DeviceError, match=f"isa '{isa}' .* has: .*scalar"):
        CPUBackend(BITNET, weights, isa=isa)


def test_no_threads(weights):
    with pytest.raises(DeviceError, match="threads is 0"):
        CPUBackend(BITNET, weights, threads=0)


def test_available_isas():
    assert available_isas()[-1] == "scalar"
    assert len(set(available_isas())) == len(available_isas())


def test_description(weights):
    assert CPUBackend(BITNET, weights, isa="scalar", threads=2).description == "cpu (scalar, 2 threads)"
    assert CPUBackend(BITNET, weights, isa="scalar", threads=1).description == "cpu (scalar, 1 thread)"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm", np.ones(95, np.float32), "norm is float32 .95.; .* float32 .96."),
        ("embed_tokens", np.zeros((311, 96), np.float32), "embed_tokens is float32"),
        ("lm_head", np.zeros((96, 311), np.uint16).T, "lm_head lies with gaps"),
    ],
)
def test_wrong_arrays(weights, field, value, message):
    with pytest.raises(CheckpointError, match=message):
        CPUBackend(BITNET, replace(weights, **{field: value}))


@pytest.mark.parametrize("name", ["q_proj", "v_proj", "down_proj"])
def test_wrong_linear(weights, name):
    matrix = getattr(weights.layers[1], name)
    layer = replace(weights.layers[1], **{name: replace(matrix, packed=matrix.packed[:-1])})
    with pytest.raises(CheckpointError, match=f"layers.1.{name} is uint8"):
        CPUBackend(BITNET, replace(weights, layers=(weights.layers[0], layer)))


@pytest.mark.parametrize("name", ["attn_sub_norm", "ffn_sub_norm"])
def test_missing_sub_norm(weights, name):
    layer = replace(weights.layers[1], **{name: None})
    with pytest.raises(CheckpointError, match=f"layers.1.{name} is missing"):
        CPUBackend(BITNET, replace(weights, layers=(weights.layers[0], layer)))


def test_sub_norms_that_the_config_does_not_have(weights):
    with pytest.raises(CheckpointError, match=r"layers\.0\.attn_sub_norm is given, but the model's config has no"):
        CPUBackend(replace(BITNET, sub_norms=False), weights)


def test_wrong_number_of_layers(weights):
    with pytest.raises(CheckpointError, match="1 layers"):
        CPUBackend(BITNET, replace(weights, layers=weights.layers[:1]))


def unaligned(array: np.ndarray) -> np.ndarray:
    """Return a read-only copy at an odd address, as in safetensors files."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    memory[1:] = np.ascontiguousarray(array).view(np.uint8).ravel()
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("isa", available_isas())
def test_weights_at_odd_addresses(isa):
    weights = random_model(LLAMA)
    layers = []
    for layer in weights.layers:
        fields = {}
        for name in type(layer).__slots__:
            value = getattr(layer, name)
            if isinstance(value, TernaryMatrix):
                fields[name] = replace(value, packed=unaligned(value.packed))
            elif isinstance(value, np.ndarray):
                fields[name] = unaligned(value)
        layers.append(replace(layer, **fields))
    moved = ModelWeights(
        unaligned(weights.embed_tokens), tuple(layers), unaligned(weights.norm), unaligned(weights.lm_head)
    )
    expected = logits_of(CPUBackend(LLAMA, weights), PROMPT)
    np.testing.assert_array_equal(logits_of(CPUBackend(LLAMA, moved, isa=isa), PROMPT), expected)


def test_weights_stay_alive_and_uncopied():
    weights = random_model(BITNET)
    expected = logits_of(CPUBackend(BITNET, weights), PROMPT)
    backend = CPUBackend(BITNET, weights)
    embedding = weights.embed_tokens
    del weights
    np.testing.assert_array_equal(logits_of(backend, PROMPT), expected)
    embedding[:] = 0
    assert not logits_of(backend, PROMPT).any()


def test_logits_buffer_is_reused_but_old_results_stay_readable(backend):
    first = backend.forward(batch_of([(PROMPT, 0, range(4))], [4]))
    kept = first.copy()
    many = backend.forward(batch_of([(PROMPT, 0, range(4))]))
    np.testing.assert_array_equal(many[4:], kept)
    again = backend.forward(batch_of([(PROMPT, 0, range(4))], [4]))
    assert np.shares_memory(again, many)
    assert first.shape == (1, 311)  # still readable, but its contents may have changed


def test_one_step_at_a_time(weights):
    backend = CPUBackend(BITNET, weights, isa="scalar", threads=1)
    backend.allocate(40, 16)
    long = batch_of([(np.ones(600, np.int32), 0, range(40))])
    started, errors = threading.Event(), []

    def run() -> None:
        started.set()
        backend.forward(long)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    while thread.is_alive():
        try:
            backend.forward(batch_of([([1], 0, range(40))]))
        except DeviceError as error:
            errors.append(str(error))
    thread.join()
    assert errors
    assert "another thread" in errors[0]


def test_forked_child_gets_an_error(backend):
    assert in_child(lambda: backend.forward(batch_of([(PROMPT, 0, range(4))]))) == f"DeviceError: {FORKED}"
    assert logits_of(backend, PROMPT).shape == (5, 311)


def test_forked_child_can_make_its_own(weights, backend):
    del backend
    assert in_child(lambda: logits_of(CPUBackend(BITNET, weights, threads=2), PROMPT)) == "none"


def test_batch_protocol():
    """`changed` above knows every field of a batch."""
    assert set(Batch.__slots__) == {"token_ids", "starts", "positions", "block_tables", "logit_rows"}
