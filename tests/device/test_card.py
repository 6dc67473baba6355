"""On a card, numbers agree with the reference, replayed steps equal launched ones, and a long run stays correct.

Run it with pytest -m card on a machine that has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bitnet_tt import BitNetModel
from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.checkpoint import Checkpoint
from tests import golden_checkpoints as golden
from tests.device.agreement import Numbers
from tests.device.paged import PagedFeeder, opened
from tests.device.whole_models import WholeModels

pytest.importorskip("ttnn", reason="the extra tt is not installed")
if TYPE_CHECKING:
    from bitnet_tt.backends.tt.backend import TTBackend

pytestmark = [
    pytest.mark.card,
    pytest.mark.skipif(not any(Path("/dev").glob("tenstorrent/[0-9]*")), reason="no card at /dev/tenstorrent"),
]


class TestCard(Numbers, WholeModels):
    """The tests of `Numbers` and `WholeModels`, on a card."""


def test_replayed_steps_equal_launched_ones() -> None:
    """Steps of two shapes take turns: twice with traces, then without. Each time the cache is allocated again."""
    checkpoint = Checkpoint.open(golden.FOLDER / "bitnet-packed")
    tokens = golden.expected("bitnet-packed")["input_ids"].tolist()
    with opened(checkpoint.config, checkpoint.load_weights(), "fast") as backend:
        assert backend.card.traces.recorder is not None
        replayed = [_decode(backend, tokens) for _ in range(2)]
        backend.card.traces = Traces(None)
        launched = _decode(backend, tokens)
    for rows in replayed:
        np.testing.assert_array_equal(rows, launched)


def _decode(backend: TTBackend, tokens: list[list[int]]) -> NDArray[np.float32]:
    """Return the logits of two sequences, fed token by token, alone and together in turn.

    Each sequence takes 66 tokens: 33 of its own and 33 of the other. That is more than two blocks of 32.
    """
    feeder = PagedFeeder(backend, sequences=2, blocks_each=3)
    for first, second in zip(*tokens, strict=True):
        feeder.feed({0: [first]})
        feeder.feed({1: [second]})
        feeder.feed({0: [second], 1: [first]})
    return np.array(feeder.logits)


@pytest.mark.slow
def test_a_thousand_texts_equal_the_first() -> None:
    """Batches of 1 to 45 copies of one prompt, over one cache: all texts are the same."""
    model = BitNetModel.from_pretrained("demo", device="tt", max_batch_size=32)
    first = model.generate("Once upon a time", max_new_tokens=40)
    for size in range(1, 46):
        assert model.generate(["Once upon a time"] * size, max_new_tokens=40) == [first] * size
