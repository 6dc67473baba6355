"""What is promised of numbers, wherever they come from: a simulator or a card."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt import reference
from bitnet_tt.backends.ttnn.plan import Precision
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.reference.compare import MAX_MEAN_KL, MIN_CORRELATION, Agreement, compare_logits
from tests import golden_checkpoints as golden
from tests.device.paged import PagedFeeder

CONTEXT = 128
BARS: dict[Precision, float] = {"exact": MIN_CORRELATION, "fast": 0.999}


def holds(agreement: Agreement, precision: Precision) -> bool:
    return agreement.correlation >= BARS[precision] and agreement.mean_kl <= MAX_MEAN_KL and agreement.clear_top1 == 1.0


def check_golden(name: str, precision: Precision) -> None:
    """Prompts at once, then the same cut at block boundaries and ends, alone and with others: equal to the bit."""
    from bitnet_tt.backends.ttnn.backend import TTBackend

    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    first, second = (ids.tolist() for ids in expected["input_ids"])
    backend = TTBackend(checkpoint.config, checkpoint.load_weights(), context_length=CONTEXT, precision=precision)
    try:
        whole = PagedFeeder(backend, sequences=2, blocks_each=2)
        whole.feed({0: first, 1: second})
        agreement = compare_logits(np.stack([np.stack(rows) for rows in whole.logits]), expected["logits"])
        print(f"{name} {precision}: {agreement}")
        assert holds(agreement, precision), agreement

        cut = PagedFeeder(backend, sequences=3, blocks_each=2)
        cut.feed({0: first[:31], 1: second[:20], 2: first[:1]})
        cut.feed({0: first[31:32], 2: first[1:2]})
        cut.feed({0: first[32:], 1: second[20:], 2: first[2:3]})
        for index, rows in enumerate((whole.logits[0], whole.logits[1], whole.logits[0][:3])):
            np.testing.assert_array_equal(np.stack(cut.logits[index]), np.stack(rows))
    finally:
        backend.close()


def equal_integers(name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> float:
    """The share of quantised activations, over all linears of a prompt, that equal the reference's."""
    from bitnet_tt.backends.ttnn import device, numerics
    from bitnet_tt.backends.ttnn.backend import TTBackend

    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    ids, weights = expected["input_ids"][0].tolist(), checkpoint.load_weights()
    theirs: list[NDArray[np.int8]] = []
    ours: list[NDArray[np.float32]] = []
    _record(monkeypatch, reference.decoder, "quantize_activations", lambda q: theirs.append(q))
    reference.forward(checkpoint.config, weights, ids)
    _record(monkeypatch, numerics, "quantize", lambda q: ours.append(device.to_host(q)[0, 0, : len(ids)]))
    backend = TTBackend(checkpoint.config, weights, context_length=CONTEXT, precision=precision)
    try:
        PagedFeeder(backend, sequences=1, blocks_each=2).feed({0: ids})
    finally:
        backend.close()
    equal = [(mine == other).ravel() for mine, other in zip(ours, theirs, strict=True)]
    return float(np.concatenate(equal).mean())


def _record(monkeypatch: pytest.MonkeyPatch, module: object, name: str, keep: Callable[..., None]) -> None:
    """Pass the first result of every call of a function to `keep`."""
    original = getattr(module, name)

    def wrapper(*arguments: object) -> object:
        result = original(*arguments)
        keep(result[0])
        return result

    monkeypatch.setattr(module, name, wrapper)
