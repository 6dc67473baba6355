from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.backends.cpu import huge_pages
from bitnet_tt.backends.cpu.huge_pages import in_huge_pages
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.weights import LINEAR_NAMES, ModelWeights, TernaryMatrix, is_mapped
from tests.checkpoint import small


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelWeights:
    """A model whose ternary weights lie in a mapped file, and a machine with huge pages for ones so small."""
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "_SETTING", setting)
    monkeypatch.setattr(huge_pages, "_LEAST_BYTES", 1)
    return Checkpoint.open(small.write_folder(tmp_path / "model")).load_weights()


def matrices(weights: ModelWeights) -> list[TernaryMatrix]:
    return [getattr(layer, name) for layer in weights.layers for name in LINEAR_NAMES]


@pytest.mark.parametrize("threads", [1, 3])
def test_mapped_matrices_are_copied(mapped: ModelWeights, threads: int) -> None:
    copied = in_huge_pages(mapped, threads)
    for copy, original in zip(matrices(copied), matrices(mapped), strict=True):
        assert is_mapped(original.packed)
        assert not is_mapped(copy.packed)
        assert copy.packed.ctypes.data % 64 == 0
        assert np.array_equal(copy.packed, original.packed)
        assert copy.scale == original.scale
    assert copied.embed_tokens is mapped.embed_tokens


def test_copies_begin_at_a_huge_page(mapped: ModelWeights) -> None:
    first = matrices(in_huge_pages(mapped, 1))[0]
    assert first.packed.ctypes.data % (2 << 20) == 0


def test_matrices_in_memory_are_left_where_they_are(mapped: ModelWeights) -> None:
    layer = mapped.layers[0]
    converted = replace(layer, q_proj=replace(layer.q_proj, packed=layer.q_proj.packed.copy()))
    copied = in_huge_pages(replace(mapped, layers=(converted, *mapped.layers[1:])), 1)
    assert copied.layers[0].q_proj is converted.q_proj
    assert not is_mapped(copied.layers[0].k_proj.packed)


def test_nothing_is_copied_without_huge_pages(mapped: ModelWeights) -> None:
    huge_pages._SETTING.write_text("always madvise [never]\n")
    assert in_huge_pages(mapped, 1) is mapped
    huge_pages._SETTING.unlink()
    assert in_huge_pages(mapped, 1) is mapped


def test_nothing_is_copied_where_it_takes_half_of_the_memory(
    mapped: ModelWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(matrix.packed.size for matrix in matrices(mapped))
    monkeypatch.setattr(huge_pages, "memory_limit", lambda: 2 * size - 1)
    assert in_huge_pages(mapped, 1) is mapped
    monkeypatch.setattr(huge_pages, "memory_limit", lambda: 2 * size)
    assert in_huge_pages(mapped, 1) is not mapped


def test_nothing_is_copied_where_memory_is_refused(mapped: ModelWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(huge_pages.mmap, "mmap", refuse)
    assert in_huge_pages(mapped, 1) is mapped
