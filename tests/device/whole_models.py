"""The promises for real shapes, on a simulator or a card: the whole demo model and a layer of 2B4T agree with NumPy."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from bitnet_tt import BitNetModel, reference
from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.planning.plan import PRECISIONS
from bitnet_tt.bench.synthetic import synthetic_config, synthetic_weights
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.cli import app
from bitnet_tt.reference.compare import compare_logits
from bitnet_tt.selftest import SLACK, nudge
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16
from tests.device.agreement import BARS, DEMO
from tests.device.following import follow, reference_integers
from tests.device.paged import PagedFeeder, opened

TEXT = (
    "Once upon a time, there was a little fox who wanted to count to one hundred. One day she asked the old owl: how "
    "far is it? The owl looked at the moon and said that it was not far at all, if one began with one. So she sat down "
    "by the river and began. One leaf, two leaves, three leaves. Then the wind came."
)


class WholeModels:
    """The tests. `test_simulator_models.py` runs them on a simulator, `test_card.py` on a card."""

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_the_demo_model_follows_the_reference(self, precision: Precision) -> None:
        check_demo(precision)

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_self_test_passes(self, precision: Precision) -> None:
        result = CliRunner().invoke(app, ["self-test", "--device", "tt", "--precision", precision, "--json"])
        print(result.stdout)
        assert result.exit_code == 0
        assert json.loads(result.stdout)["passed"] is True

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_a_layer_of_2b4t_follows_the_reference(self, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
        check_layer_of_2b4t(precision, monkeypatch)


def check_demo(precision: Precision) -> None:
    """Three prompts, then decode steps of all three and of one, to a block's last position and into the next."""
    checkpoint = Checkpoint.open(DEMO)
    weights, ids = checkpoint.load_weights(), BitNetModel.from_pretrained("demo").tokenizer.encode(TEXT)
    sequences = [ids[:33], ids[10:16], ids[20:84]]
    lengths = [31, 5, 63]
    assert [len(sequence) for sequence in sequences] == [33, 6, 64]
    with opened(checkpoint.config, weights, precision) as backend:
        feeder = PagedFeeder(backend, sequences=3, blocks_each=3)
        feeder.feed({index: sequences[index][:length] for index, length in enumerate(lengths)})
        for batch in ((0, 1, 2), (0,)):
            feeder.feed({index: [sequences[index][lengths[index]]] for index in batch})
            for index in batch:
                lengths[index] += 1
    assert lengths == [len(sequence) for sequence in sequences]
    expected = [reference.forward(checkpoint.config, weights, sequence) for sequence in sequences]
    agreement = compare_logits(np.concatenate(feeder.logits), np.concatenate(expected))
    print(f"demo {precision}: {agreement}")
    assert agreement.meets(BARS[precision])


def check_layer_of_2b4t(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer of the real size, with random weights and a small vocabulary: a prompt, and steps across a block's end.

    At this width the slightest change makes some quantised integer of nearly every token differ. So the device is
    compared with a second run of the reference, in which the last bits of a norm are changed: at most SLACK times as
    many integers may differ on the device as in that run.
    """
    config = replace(synthetic_config("2b4t"), num_hidden_layers=1, vocab_size=1024)
    weights = synthetic_weights(config)
    # An untrained model with tied embeddings predicts each token as its own successor, with certainty. So untie them.
    head = np.roll(bfloat16_to_float32(weights.embed_tokens), 1, axis=1) / 16
    weights = replace(weights, lm_head=float32_to_bfloat16(head))
    ids = np.random.default_rng(1).integers(0, config.vocab_size, 33).tolist()
    _, theirs = reference_integers(config, weights, ids, monkeypatch)
    _, nudged = reference_integers(config, nudge(weights), ids, monkeypatch)
    own = float(np.mean(np.concatenate([(mine == other).ravel() for mine, other in zip(nudged, theirs, strict=True)])))
    print(f"a layer of 2b4t: {own:.4f} of the reference's integers stay when last bits change")
    parts = follow(config, weights, ids, 2, precision, monkeypatch)
    for name, part in parts.items():
        print(f"a layer of 2b4t, {precision}, {name}: {part}")
        assert part.logits.correlation >= BARS[precision].correlation
        assert part.logits.mean_kl <= BARS[precision].mean_kl
    assert parts["all"].first_product > 0.999
    assert 1 - parts["all"].every_layer <= SLACK * (1 - own)
