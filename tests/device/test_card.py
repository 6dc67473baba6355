"""Numbers on a card: pytest -m card, on a machine that has one."""

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
    pytest.mark.skipif(not any(Path("/dev").glob("tenstorrent/[0-9]*")), reason="there is no card at /dev/tenstorrent"),
]


class TestCard(Numbers, WholeModels):
    """See `Numbers` and `WholeModels`."""


def test_replayed_steps_equal_launched_ones() -> None:
    """Steps of two shapes in turn, over a cache that is made anew in between."""
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
    """Logits of two sequences, token by token, now together and now alone."""
    feeder = PagedFeeder(backend, sequences=2, blocks_each=2)
    for first, second in zip(*tokens, strict=True):
        feeder.feed({0: [first]})
        feeder.feed({1: [second]})
        feeder.feed({0: [second], 1: [first]})
    return np.array(feeder.logits)


@pytest.mark.slow
def test_a_thousand_texts_come_out_as_the_first() -> None:
    """A soak: batches of changing size over one cache, all with the same answer."""
    model = BitNetModel.from_pretrained("demo", device="tt", max_batch_size=32)
    first = model.generate("Once upon a time", max_new_tokens=40)
    for size in range(1, 46):
        assert model.generate(["Once upon a time"] * size, max_new_tokens=40) == [first] * size
