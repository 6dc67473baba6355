"""Perplexities are those of llama-perplexity's windows, computed from whole logits in another way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.errors import RequestError
from bitnet_tt.evaluation.perplexity import cut_windows, measure_perplexity

TEXT = "Once upon a time, there was a little fox who wanted to count to one hundred. She asked the old owl. " * 12


@pytest.fixture(scope="module")
def model() -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained("demo", threads=1) as loaded:
        yield loaded


def losses(model: BitNetModel, token_ids: list[int]) -> np.ndarray:
    """The negative log-likelihood of each token after the first."""
    logits = model.logits(token_ids).astype(np.float64)
    normalizers = np.log(np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)) + logits.max(axis=-1)
    return np.array([normalizers[i] - logits[i, token] for i, token in enumerate(token_ids[1:])])


def test_windows_side_by_side(model: BitNetModel) -> None:
    """In llama.cpp's terms: first = n_ctx / 2, and n_ctx - first - 1 tokens of each chunk count."""
    result = measure_perplexity(model, TEXT, context=64)
    bos = model.tokenizer.bos_token_id
    tokens = model.tokenizer.encode(TEXT)
    assert tokens[0] == bos
    expected: list[float] = []
    for chunk in range(len(tokens) // 64):
        window = tokens[64 * chunk : 64 * chunk + 64]
        window[0] = bos
        expected += losses(model, window)[32:].tolist()  # the tokens 33 to 63
    assert (result.windows, result.scored) == (len(tokens) // 64, 31 * (len(tokens) // 64))
    assert result.perplexity == pytest.approx(math.exp(np.mean(expected)), rel=1e-12)
    error = math.exp(np.mean(expected)) * math.sqrt(np.var(expected) / (len(expected) - 1))
    assert result.error == pytest.approx(error, rel=1e-9)


def test_windows_with_a_stride(model: BitNetModel) -> None:
    result = measure_perplexity(model, TEXT, context=64, stride=20)
    tokens = model.tokenizer.encode(TEXT)
    count = math.ceil((len(tokens) - 74) / 20)
    expected = np.concatenate([losses(model, tokens[20 * i : 20 * i + 74])[-20:] for i in range(count)])
    assert (result.windows, result.scored) == (count, 20 * count)
    assert result.perplexity == pytest.approx(math.exp(expected.mean()), rel=1e-12)


def test_windows_of_a_tokenizer_without_a_first_token() -> None:
    assert [list(window.token_ids) for window in cut_windows(range(11), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [list(window.token_ids) for window in cut_windows(range(11), 4, bos=9)] == [[9, 1, 2, 3], [9, 5, 6, 7]]
    strided = list(cut_windows(range(11), 4, 2))
    assert [(window.token_ids[0], len(window.token_ids), window.first) for window in strided] == [
        (0, 5, 3),
        (2, 5, 3),
        (4, 5, 3),
    ]


def test_a_limit_of_windows_and_progress(model: BitNetModel) -> None:
    seen: list[tuple[int, int]] = []
    result = measure_perplexity(
        model, TEXT, context=64, max_windows=2, progress=lambda done, total: seen.append((done, total))
    )
    assert (result.windows, result.scored) == (2, 62)
    assert seen == [(1, 2), (2, 2)]


def test_mistakes_are_named(model: BitNetModel) -> None:
    with pytest.raises(RequestError, match=r"needs at least 1024; give a longer text"):
        measure_perplexity(model, "short")
    with pytest.raises(RequestError, match="context is 2"):
        measure_perplexity(model, TEXT, context=2)
    with pytest.raises(RequestError, match="stride 200"):
        measure_perplexity(model, TEXT, context=64, stride=200)


def test_the_command(run, model: BitNetModel, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    expected = measure_perplexity(model, TEXT, context=64)
    result = run("perplexity", str(path), "--context", "64", "--threads", "1")
    assert result.stdout == f"perplexity {expected.perplexity:.4f} +/- {expected.error:.4f}\n"
    strided = run("perplexity", str(path), "--context", "64", "--stride", "20", "--json", "--threads", "1")
    facts = json.loads(strided.stdout)
    assert facts["perplexity"] == measure_perplexity(model, TEXT, context=64, stride=20).perplexity
