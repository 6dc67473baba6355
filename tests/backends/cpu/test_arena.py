"""Ternary weights are copied to huge pages only where that is possible and worth it, and every copy is exact."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import _native
from bitnet_tt.backends.cpu import arena
from bitnet_tt.backends.cpu.arena import Placed, allocate_arenas
from bitnet_tt.backends.cpu.backend import CPUBackend, available_isas
from bitnet_tt.backends.cpu.load import load_layers
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.errors import DeviceError
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import ModelWeights, TernaryMatrix
from tests.backends.cpu.random_models import BITNET, batch_of, random_model
from tests.checkpoint import small

DENSE = [isa for isa in available_isas() if _native.packs_dense(isa)]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """Return a model whose ternary weights lie in a mapped file; arenas take matrices of any size."""
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never\n")
    monkeypatch.setattr(arena, "HUGE_PAGE_SETTING", setting)
    monkeypatch.setattr(arena, "MIN_ARENA_BYTES", 1)
    return Checkpoint.open(small.write_folder(tmp_path / "model"))


@pytest.fixture
def mapped(checkpoint: Checkpoint) -> ModelWeights:
    return checkpoint.load_weights()


def matrices(weights: ModelWeights) -> list[TernaryMatrix]:
    return [layer.linear(name) for layer in weights.layers for name in LINEAR_NAMES]


def place(weights: ModelWeights, *, threads: int = 1, isa: str = "") -> list[Placed]:
    arenas = allocate_arenas(weights.layers, threads=threads, isa=isa)
    layers = [[layer.linear(name) for name in LINEAR_NAMES] for layer in weights.layers]
    return [place for arena, layer in zip(arenas, layers, strict=True) for place in arena.place(layer, threads)]


def all_stay(weights: ModelWeights) -> bool:
    return not allocate_arenas(weights.layers, threads=1, isa="")


def test_mapped_matrices_are_copied(mapped: ModelWeights) -> None:
    for copy, original in zip(place(mapped), matrices(mapped), strict=True):
        assert region_of(original.packed) is not None
        assert region_of(copy.packed) is None
        assert copy.dense is None
        assert copy.packed.ctypes.data % 64 == 0
        assert np.array_equal(copy.packed, original.packed)


def test_arena_begins_at_a_huge_page(mapped: ModelWeights) -> None:
    assert place(mapped)[0].packed.ctypes.data % (2 << 20) == 0


def test_matrices_in_memory_stay_there(mapped: ModelWeights) -> None:
    layer = mapped.layers[0]
    converted = replace(layer, q_proj=replace(layer.q_proj, packed=layer.q_proj.packed.copy()))
    first, second, *_ = place(replace(mapped, layers=(converted, *mapped.layers[1:])))
    assert first.packed is converted.q_proj.packed
    assert region_of(second.packed) is None


@pytest.mark.parametrize("isa", DENSE)
def test_matrices_become_dense_for_several_threads(mapped: ModelWeights, isa: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4096)).astype(np.float32)
    for placed, original in zip(place(mapped, threads=2, isa=isa), matrices(mapped), strict=True):
        assert placed.dense == (original.out_features, original.in_features)
        assert placed.packed.shape == _native.dense_shape(*placed.dense)
        inputs = x[:, : original.in_features].copy()
        products = [
            _native.bit_linear(_native.Linear(matrix.packed, 1.0, None, dense), inputs, isa)
            for matrix, dense in ((placed, placed.dense), (original, None))
        ]
        np.testing.assert_array_equal(*products)


def test_instruction_sets_without_dense_form_take_stored_weights(mapped: ModelWeights) -> None:
    assert all(placed.dense is None for placed in place(mapped, threads=2, isa="scalar"))


def step_logits(backend: CPUBackend) -> np.ndarray:
    return backend.forward(batch_of([(list(range(20)), 0, range(2))], range(20))).copy()


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 2])
def test_logits_are_equal_before_while_and_after_layers_move(checkpoint: Checkpoint, isa: str, threads: int) -> None:
    with closing(CPUBackend(checkpoint.config, checkpoint.load_weights(), threads=threads, isa=isa)) as backend:
        backend.allocate(2, 16)
        waiting, logits = [], []
        for _ in range(checkpoint.config.num_hidden_layers + 2):
            logits.append(step_logits(backend))
            waiting.append(len(backend._mover))
    assert waiting == [*range(checkpoint.config.num_hidden_layers, -1, -1), 0]  # the first step moves none
    for other in logits[1:]:
        np.testing.assert_array_equal(other, logits[0])


def test_steps_for_hidden_states_move_layers_too(checkpoint: Checkpoint) -> None:
    with closing(CPUBackend(checkpoint.config, checkpoint.load_weights())) as backend:
        backend.allocate(2, 16)
        batch = batch_of([(list(range(20)), 0, range(2))], range(20))
        states = [backend.hidden(batch) for _ in range(checkpoint.config.num_hidden_layers + 1)]
        assert not backend._mover
    np.testing.assert_array_equal(states[0], states[-1])


def test_warm_up_moves_all_layers(checkpoint: Checkpoint) -> None:
    layers, calls = checkpoint.config.num_hidden_layers, []
    with closing(CPUBackend(checkpoint.config, checkpoint.load_weights())) as backend:
        backend.allocate(2, 16)
        before = step_logits(backend)
        backend.warm_up(1, lambda done, total: calls.append((done, total)))
        assert calls == [(done, layers) for done in range(1, layers + 1)]
        assert not backend._mover
        np.testing.assert_array_equal(step_logits(backend), before)


def test_wrong_layers_are_refused(mapped: ModelWeights, checkpoint: Checkpoint) -> None:
    backend = CPUBackend(checkpoint.config, mapped)
    decoder = backend._opened()
    (layer, *_) = load_layers(mapped.layers, checkpoint.config)
    with pytest.raises(ValueError, match="no such layer"):
        decoder.replace_layer(checkpoint.config.num_hidden_layers, layer)
    with pytest.raises(ValueError, match="shape"):
        decoder.replace_layer(0, load_layers(random_model(BITNET).layers, BITNET)[0])


def test_dense_weights_take_five_sixths_of_the_memory() -> None:
    rows, columns = _native.dense_shape(6912, 2560)
    assert rows * columns * 6 == 6912 * 2560 / 4 * 5
    assert _native.dense_shape(4, 513) == (2, 320 + 64)


@pytest.mark.parametrize("isa", DENSE)
def test_wrong_dense_weights_are_refused(isa: str) -> None:
    packed = np.zeros((1, 64), np.uint8)
    dense = np.zeros(_native.dense_shape(4, 64), np.uint8)
    linear = _native.Linear(dense, 1.0, None, (4, 64))
    with pytest.raises(ValueError, match="shape"):
        _native.pack_dense(packed, np.zeros((1, 64), np.uint8), isa)
    with pytest.raises(ValueError, match="shape"):
        _native.Linear(dense, 1.0, None, (8, 64))
    with pytest.raises(ValueError, match="no dense form"):
        _native.pack_dense(packed, dense, "scalar")
    with pytest.raises(ValueError, match="no dense form"):
        _native.bit_linear(linear, np.ones((1, 64), np.float32), "scalar")
    with pytest.raises(DeviceError, match="isa 'none'"):
        _native.packs_dense("none")


def test_nothing_is_copied_without_huge_pages(mapped: ModelWeights) -> None:
    arena.HUGE_PAGE_SETTING.write_text("always madvise [never]\n")
    assert all_stay(mapped)
    arena.HUGE_PAGE_SETTING.unlink()
    assert all_stay(mapped)


def test_nothing_is_copied_if_it_takes_more_than_half_of_the_memory(
    mapped: ModelWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(matrix.packed.size for matrix in matrices(mapped))
    monkeypatch.setattr(arena, "memory_limit", lambda: 2 * size - 1)
    assert all_stay(mapped)
    monkeypatch.setattr(arena, "memory_limit", lambda: 2 * size)
    assert not all_stay(mapped)


def test_nothing_is_copied_if_the_system_refuses_the_memory(
    mapped: ModelWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(arena.mmap, "mmap", refuse)
    assert all_stay(mapped)
