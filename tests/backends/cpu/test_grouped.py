"""Products with group scales equal the reference on every instruction set, for any shape, and at their largest sums.

A ternary embedding is exact. Single logits of a ternary lm_head have the bits of the whole row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt import _native
from bitnet_tt.backends.base import LogitFilter, Noise
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.backends.masks import mask_of
from bitnet_tt.errors import CheckpointError
from bitnet_tt.reference import grouped_bitlinear, unpack_groups, widen_groups
from bitnet_tt.weights import GroupedMatrix
from tests.backends.cpu.random_models import BONSAI, batch_of, logits_of, random_model
from tests.grouped_matrices import grouped_of, random_grouped

ISAS = available_isas()


def product(matrix: GroupedMatrix, x: np.ndarray, isa: str) -> np.ndarray:
    linear = _native.Linear(
        packed=matrix.blocks, out_features=matrix.out_features, in_features=matrix.in_features, group=matrix.group
    )
    return _native.bit_linear(linear, x, isa)


@pytest.mark.parametrize("isa", ISAS)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    out_features=st.integers(1, 70),
    groups=st.integers(1, 6),
    group=st.sampled_from([64, 128]),
    tokens=st.integers(1, 11),
    seed=st.integers(0, 2**32 - 1),
)
def test_product_equals_the_reference(isa, out_features, groups, group, tokens, seed):
    rng = np.random.default_rng(seed)
    matrix = random_grouped(rng, out_features, groups * group, group)
    x = (rng.normal(size=(tokens, groups * group)) * rng.exponential(size=groups * group)).astype(np.float32)
    ours, expected = product(matrix, x, isa), grouped_bitlinear(x, matrix)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-7 * np.abs(expected).max())
    assert (ours == expected).mean() > 0.99  # the reference rounds sums twice: now and then the last bit differs


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [-1, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_product_at_its_largest(isa, value, sign):
    """All weights are the same and all activations quantise to 127 or -127. One group has one rounding at most."""
    matrix = grouped_of(np.full((33, 128), value, np.int8), np.ones((33, 1), np.float16))
    x = np.full((5, 128), sign, np.float32)
    expected = np.float32(value * sign * 127 * 128) * (np.float32(1) / np.float32(127))
    np.testing.assert_array_equal(product(matrix, x, isa), np.full((5, 33), expected))


@pytest.mark.parametrize("isa", ISAS)
def test_every_finite_scale(isa):
    """All float16 scales, negative and subnormal ones too."""
    scales = np.arange(65536, dtype=np.uint16).view(np.float16)
    scales = scales[np.isfinite(scales)].reshape(-1, 16)
    matrix = grouped_of(np.eye(len(scales), 1024, dtype=np.int8), scales)
    x = np.full((1, 1024), 127, np.float32)  # its units are 1
    expected = np.zeros(len(scales), np.float32)
    rows = np.arange(1024)
    expected[rows] = scales.astype(np.float32)[rows, rows // 64] * np.float32(127)
    np.testing.assert_array_equal(product(matrix, x, isa)[0], expected)


def test_layout_is_that_of_the_reference():
    rng = np.random.default_rng(2)
    values = rng.integers(-1, 3, (35, 192)).astype(np.int8)
    scales = rng.normal(size=(35, 3)).astype(np.float16)
    unpacked = unpack_groups(grouped_of(values, scales))
    np.testing.assert_array_equal(unpacked[0], values)
    np.testing.assert_array_equal(unpacked[1], scales.astype(np.float32))


def outputs_of(layer):
    return {"o_proj": layer.o_proj, "down_proj": layer.down_proj}


def test_embedding_is_exact():
    """With layers that add nothing, the normed hidden state is that of the embedding's own row."""
    weights = random_model(BONSAI)
    embedding = weights.embed_tokens
    assert isinstance(embedding, GroupedMatrix)
    layers = tuple(
        replace(layer, **{name: replace(m, blocks=np.zeros_like(m.blocks)) for name, m in outputs_of(layer).items()})
        for layer in weights.layers
    )
    backend = CPUBackend(BONSAI, replace(weights, layers=layers), threads=1)
    backend.allocate(1, 16)
    h = widen_groups(embedding, np.array([7, 310]))
    root = np.sqrt(np.mean(h.astype(np.float64) ** 2, axis=1, keepdims=True) + BONSAI.rms_norm_eps)
    states = backend.hidden(batch_of([([7, 310], 0, [0])]))
    np.testing.assert_allclose(states, weights.norm * h / root, rtol=1e-6)


def test_single_logits_have_the_bits_of_the_row():
    weights = random_model(BONSAI)
    backend = CPUBackend(BONSAI, weights, threads=2)
    row = logits_of(backend, [5, 6, 7])[-1]
    ids = np.array([0, 15, 16, 17, 200, 309, 310])
    filters = [LogitFilter(count=4, allowed=lambda: mask_of(ids, BONSAI.vocab_size))]
    backend.allocate(1, 16)
    found = backend.candidates(batch_of([([5, 6, 7], 0, [0])], [2]), filters)[0]
    np.testing.assert_array_equal(found.token_ids, ids)
    np.testing.assert_array_equal(found.logits, row[ids])


def test_all_filters_give_whole_rows():
    """There is no screen of a ternary lm_head."""
    backend = CPUBackend(BONSAI, random_model(BONSAI), threads=2)
    row = logits_of(backend, [5, 6, 7])[-1]
    for limit in (LogitFilter(count=1), LogitFilter(count=1, noise=Noise(1, 3, 0, 0.7)), LogitFilter()):
        for _ in range(2):
            backend.allocate(1, 16)
            found = backend.candidates(batch_of([([5, 6, 7], 0, [0])], [2]), [limit])[0]
            assert found.token_ids is None
            np.testing.assert_array_equal(found.logits, row)
    assert backend.stats().screen_bytes == 0


def test_weights_are_counted_once():
    tied = replace(BONSAI, tie_word_embeddings=True)
    weights = random_model(tied)
    matrices = [weights.embed_tokens] + [layer.linear(name) for layer in weights.layers for name in tied.linear_shapes]
    expected = sum(matrix.blocks.nbytes for matrix in matrices if isinstance(matrix, GroupedMatrix))
    stats = CPUBackend(tied, weights).stats()
    assert (stats.weight_bytes, stats.file_bytes) == (expected, 0)


def test_weights_that_contradict_the_config_are_refused():
    weights = random_model(BONSAI)
    for group, message in ((None, r"groups of 64 columns; the model's config says None"), (128, "config says 128")):
        config = replace(BONSAI, quantization=replace(BONSAI.quantization, group_size=group))
        with pytest.raises(CheckpointError, match=rf"layers\.0\.q_proj has .*{message}"):
            CPUBackend(config, weights)
    layer = weights.layers[0]
    narrow = replace(layer.up_proj, in_features=64)
    for change, message in (
        ({"up_proj": narrow}, r"layers\.0\.up_proj is \[320, 64\]"),
        ({"up_proj": replace(layer.up_proj, blocks=layer.up_proj.blocks[:-1])}, r"layers\.0\.up_proj is uint8"),
        ({"up_proj": random_model(replace(BONSAI, quantization=type(BONSAI.quantization)())).layers[0].up_proj}, "one"),
    ):
        changed = replace(weights, layers=(replace(layer, **change), *weights.layers[1:]))
        with pytest.raises(CheckpointError, match=message):
            CPUBackend(BONSAI, changed)
