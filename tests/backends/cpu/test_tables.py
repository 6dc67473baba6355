"""Embedding and lm_head stay in their mapped file: rows are read from there and have the bits of a table in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import ModelWeights
from tests.backends.cpu.random_models import batch_of
from tests.checkpoint import small
from tests.resident import resident_bytes

VOCAB = 16384
TABLE_BYTES = VOCAB * small.HIDDEN * 2
FILTERS = [LogitFilter(count=1), LogitFilter(count=20)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tensors = small.tensors(vocab=VOCAB)
    table = np.random.default_rng(0).normal(size=(VOCAB, small.HIDDEN)).astype(np.float32)
    tensors["model.embed_tokens.weight"] = ("BF16", (table.view(np.uint32) >> 16).astype(np.uint16))
    return small.write_folder(tmp_path / "model", tensors, vocab_size=VOCAB)


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint.open(folder)


@pytest.fixture(autouse=True)
def every_head_is_screened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.SMALL_HEAD_BYTES", 0)
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.THREAD_WORK", 0)


def steps(checkpoint: Checkpoint, weights: ModelWeights, threads: int) -> list[np.ndarray]:
    """Return logits of a step that computes whole rows, of two that find candidates, and of `forward`."""
    backend = CPUBackend(checkpoint.config, weights, threads=threads)
    backend.allocate(2, 16)
    batch = batch_of([(list(range(0, VOCAB, VOCAB // 20)), 0, range(2))], [3, 7])
    rows = [row for _ in range(3) for row in backend.candidates(batch, FILTERS)]
    assert backend.stats().logits_computed < VOCAB / 2
    return [row.logits for row in rows] + [backend.forward(batch).copy()]


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_from_the_file_equal_rows_in_memory(checkpoint: Checkpoint, threads: int) -> None:
    mapped = checkpoint.load_weights()
    copy = mapped.lm_head.copy()
    expected = steps(checkpoint, replace(mapped, embed_tokens=copy, lm_head=copy), threads)
    for logits, same in zip(steps(checkpoint, mapped, threads), expected, strict=True):
        np.testing.assert_array_equal(logits, same)


def test_the_table_stays_in_its_file(checkpoint: Checkpoint, folder: Path) -> None:
    backend = CPUBackend(checkpoint.config, checkpoint.load_weights(), threads=2)
    backend.allocate(2, 16)
    batch = batch_of([([5, 7, 11], 0, range(2))], [1, 2])
    for _ in range(5):
        backend.candidates(batch, FILTERS)
    assert backend.stats().screen_bytes > 0
    assert backend.stats().file_bytes == TABLE_BYTES < backend.stats().weight_bytes
    assert resident_bytes(folder / "model.safetensors") < TABLE_BYTES / 4
    # Whole rows for the second time: now the table is kept in memory.
    backend.candidates(batch, [LogitFilter(), LogitFilter()])
    assert resident_bytes(folder / "model.safetensors") >= TABLE_BYTES
    assert backend.stats().file_bytes == 0


def test_a_file_that_cannot_be_read_is_used_through_its_mapping(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = checkpoint.load_weights()
    expected = steps(checkpoint, weights, 1)
    region = region_of(weights.lm_head)
    assert region is not None
    monkeypatch.setattr(region.file, "descriptor", 1 << 20)  # no such descriptor
    for logits, same in zip(steps(checkpoint, weights, 1), expected, strict=True):
        np.testing.assert_array_equal(logits, same)
