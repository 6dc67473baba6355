"""Numbers on a card: pytest -m card, on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.backends.ttnn.plan import PRECISIONS, Precision
from tests import golden_checkpoints as golden
from tests.device.agreement import check_cuts, check_golden, equal_integers

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.card,
    pytest.mark.skipif(not any(Path("/dev").glob("tenstorrent/[0-9]*")), reason="there is no card at /dev/tenstorrent"),
]


@pytest.mark.parametrize("name", golden.NAMES)
def test_exact_logits_equal_transformers(name: str) -> None:
    check_golden(name, "exact")


@pytest.mark.parametrize("name", [name for name in golden.NAMES if name.startswith("bitnet")])
def test_fast_logits_are_close(name: str) -> None:
    check_golden(name, "fast")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_row_depends_on_the_batch_or_on_cuts(precision: Precision) -> None:
    check_cuts("bitnet-packed", precision)


def test_quantized_integers_equal_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    first_layer, every_layer = equal_integers("bitnet-packed", "exact", monkeypatch)
    assert first_layer > 0.995
    assert every_layer > 0.9


@pytest.mark.slow
def test_a_thousand_texts_come_out_as_the_first() -> None:
    """A soak: batches of changing size over one cache, all with the same answer."""
    model = BitNetModel.from_pretrained("demo", device="tt", max_batch_size=32)
    first = model.generate("Once upon a time", max_new_tokens=40)
    for size in range(1, 46):
        assert model.generate(["Once upon a time"] * size, max_new_tokens=40) == [first] * size
