"""What is promised of numbers, wherever they come from: a simulator or a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt import reference
from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.ttnn.plan import PRECISIONS, Precision
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.reference.compare import MAX_MEAN_KL, MIN_CORRELATION, compare_logits
from bitnet_tt.weights import ModelWeights
from tests import golden_checkpoints as golden
from tests.device.paged import PagedFeeder

CONTEXT = 128
BARS: dict[Precision, float] = {"exact": MIN_CORRELATION, "fast": 0.999}


class Numbers:
    """The tests, for `test_simulator.py` and `test_card.py` to run on what they have."""

    @pytest.mark.parametrize("name", golden.NAMES)
    def test_exact_logits_equal_transformers(self, name: str) -> None:
        check_golden(name, "exact")

    @pytest.mark.parametrize("name", [name for name in golden.NAMES if name.startswith("bitnet")])
    def test_fast_logits_are_close(self, name: str) -> None:
        check_golden(name, "fast")

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_no_row_depends_on_the_batch_or_on_cuts(self, precision: Precision) -> None:
        check_cuts("bitnet-packed", precision)

    def test_quantized_integers_equal_the_references(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that differs, by a last bit of a norm, moves all that its token computes from then on."""
        first_layer, every_layer = equal_integers("bitnet-packed", "exact", monkeypatch)
        assert first_layer > 0.995
        assert every_layer > 0.9


def check_golden(name: str, precision: Precision) -> None:
    """Two prompts, all but the last token of each at once and that one as a decode step, against transformers."""
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    first, second = (ids.tolist() for ids in expected["input_ids"])
    with opened(checkpoint.config, checkpoint.load_weights(), precision) as backend:
        feeder = PagedFeeder(backend, sequences=2, blocks_each=2)
        feeder.feed({0: first[:-1], 1: second[:-1]})
        feeder.feed({0: first[-1:], 1: second[-1:]})
    agreement = compare_logits(np.stack([np.stack(rows) for rows in feeder.logits]), expected["logits"])
    print(f"{name} {precision}: {agreement}")
    assert agreement.correlation >= BARS[precision]
    assert agreement.mean_kl <= MAX_MEAN_KL
    assert agreement.clear_top1 == 1.0


def check_cuts(name: str, precision: Precision) -> None:
    """Prompts whole, and cut before, at and after a block's end, alone and with others: equal to the bit."""
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    first, second = (ids.tolist() for ids in expected["input_ids"])
    # One layer is enough to see a difference, and a simulator is slow.
    weights = checkpoint.load_weights()
    config = replace(checkpoint.config, num_hidden_layers=1)
    with opened(config, replace(weights, layers=weights.layers[:1]), precision) as backend:
        whole = PagedFeeder(backend, sequences=2, blocks_each=2)
        whole.feed({0: first, 1: second})
        cut = PagedFeeder(backend, sequences=3, blocks_each=2)
        cut.feed({0: first[:31], 1: second[:20], 2: first[:1]})
        cut.feed({0: first[31:32], 2: first[1:2]})
        cut.feed({0: first[32:], 1: second[20:], 2: first[2:3]})
    for index, rows in enumerate((whole.logits[0], whole.logits[1], whole.logits[0][:3])):
        np.testing.assert_array_equal(np.stack(cut.logits[index]), np.stack(rows))


@contextmanager
def opened(config: ModelConfig, weights: ModelWeights, precision: Precision) -> Iterator[Backend]:
    from bitnet_tt.backends.ttnn.backend import TTBackend

    backend = TTBackend(config, weights, context_length=CONTEXT, precision=precision)
    try:
        yield backend
    finally:
        backend.close()


def equal_integers(name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """The share of quantised activations of a prompt that equal the reference's: in the first layer, and in all."""
    from bitnet_tt.backends.ttnn import device, numerics

    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    ids, weights = expected["input_ids"][0].tolist(), checkpoint.load_weights()
    theirs: list[NDArray[np.int8]] = []
    ours: list[NDArray[np.float32]] = []
    _record(monkeypatch, reference.decoder, "quantize_activations", lambda q: theirs.append(q))
    reference.forward(checkpoint.config, weights, ids)
    _record(monkeypatch, numerics, "quantize", lambda q: ours.append(device.to_host(q)[0, 0, : len(ids)]))
    with opened(checkpoint.config, weights, precision) as backend:
        PagedFeeder(backend, sequences=1, blocks_each=2).feed({0: ids})
    equal = [(mine == other).ravel() for mine, other in zip(ours, theirs, strict=True)]
    in_a_layer = len(equal) // checkpoint.config.num_hidden_layers
    first, every = (float(np.concatenate(part).mean()) for part in (equal[:in_a_layer], equal))
    print(f"{name} {precision}: integers equal {first:.5f} in the first layer, {every:.5f} in all")
    return first, every


def _record(monkeypatch: pytest.MonkeyPatch, module: object, name: str, keep: Callable[..., None]) -> None:
    """Pass the first result of every call of a function to `keep`."""
    original = getattr(module, name)

    def wrapper(*arguments: object) -> object:
        result = original(*arguments)
        keep(result[0])
        return result

    monkeypatch.setattr(module, name, wrapper)
