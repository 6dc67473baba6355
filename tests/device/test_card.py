"""Numbers on a card: pytest -m card, on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitnet_tt import BitNetModel
from tests.device.agreement import Numbers

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.card,
    pytest.mark.skipif(not any(Path("/dev").glob("tenstorrent/[0-9]*")), reason="there is no card at /dev/tenstorrent"),
]


class TestCard(Numbers):
    """See `Numbers`."""


@pytest.mark.slow
def test_a_thousand_texts_come_out_as_the_first() -> None:
    """A soak: batches of changing size over one cache, all with the same answer."""
    model = BitNetModel.from_pretrained("demo", device="tt", max_batch_size=32)
    first = model.generate("Once upon a time", max_new_tokens=40)
    for size in range(1, 46):
        assert model.generate(["Once upon a time"] * size, max_new_tokens=40) == [first] * size
