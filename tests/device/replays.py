"""The promises for traces, on a simulator or a card: a replayed step computes the same bits as a launched one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.planning.attention import PART_BLOCKS
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import ModelWeights
from tests import golden_checkpoints as golden
from tests.device.paged import PagedFeeder, opened

if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend

_LONGER = 2 * PART_BLOCKS * TILE  # beyond so many positions, the block table is longer, and so the step another one
_CONTEXT = 2 * _LONGER
_STEPS = 64


class Replays:
    """The tests. `test_simulator_traces.py` runs them on a simulator, `test_card.py` on a card."""

    def test_replayed_steps_equal_launched_ones(self) -> None:
        """Twice with traces, and then without. Each time the cache is allocated again."""
        with opened(*one_layer(), "fast", _CONTEXT) as backend:
            assert backend.cards[0].traces.recorder is not None
            replayed = [decode_in_turn(backend) for _ in range(2)]
            backend.cards[0].traces.release()
            backend.cards[0].traces = Traces(None)
            launched = decode_in_turn(backend)
        for rows in replayed:
            np.testing.assert_array_equal(rows, launched)

    def test_64_replayed_steps_equal_one_prompt(self) -> None:
        """A prompt is launched, never replayed; its rows are those of the tokens one by one."""
        config, weights = one_layer()
        tokens = np.random.default_rng(2).integers(0, config.vocab_size, _STEPS + 2).tolist()
        with opened(config, weights, "fast", _CONTEXT) as backend:
            assert backend.cards[0].traces.recorder is not None
            single = PagedFeeder(backend, sequences=1, blocks_each=3)
            for token in tokens:  # the first step is launched, the second recorded
                single.feed({0: [token]})
            whole = PagedFeeder(backend, sequences=1, blocks_each=3)
            whole.feed({0: tokens})
        np.testing.assert_array_equal(np.stack(single.logits[0]), np.stack(whole.logits[0]))

    def test_tokens_that_the_device_feeds_back_are_those_of_whole_rows(self) -> None:
        """Replayed, also ahead of the host, and launched; and with tokens that the host picks from whole rows."""
        from tests.device.greedy import greedy_texts, steps_that_change

        with opened(*one_layer(), "fast", _CONTEXT) as backend:
            assert backend.cards[0].traces.recorder is not None
            replayed = greedy_texts(backend, LogitFilter(1))
            ahead = greedy_texts(backend, None)
            backend.cards[0].traces.release()
            backend.cards[0].traces = Traces(None)
            launched = greedy_texts(backend, LogitFilter(1))
            picked, _ = greedy_texts(backend, LogitFilter())
        assert ahead == replayed == launched == (picked, steps_that_change())


def one_layer() -> tuple[ModelConfig, ModelWeights]:
    """Return one layer of a golden checkpoint: it launches every program, and a simulator is slow."""
    checkpoint = Checkpoint.open(golden.FOLDER / "bitnet-packed")
    weights = checkpoint.load_weights()
    return replace(checkpoint.config, num_hidden_layers=1), replace(weights, layers=weights.layers[:1])


def decode_in_turn(backend: TTBackend) -> NDArray[np.float32]:
    """Return the logits of decode steps of one, two and three sequences in turn, one row for each token.

    The first sequence grows into its second block, the second one to a step of another shape.
    """
    lengths = [29, _LONGER - 3, 1]
    random = np.random.default_rng(1)
    feeder = PagedFeeder(backend, sequences=3, blocks_each=_LONGER // TILE + 1)
    feeder.feed({index: random.integers(0, 500, length).tolist() for index, length in enumerate(lengths)})
    for _ in range(4):
        for batch in ((0,), (0, 1, 2), (1, 2)):
            feeder.feed({index: [int(random.integers(0, 500))] for index in batch})
    return np.concatenate(feeder.logits)
