"""Numbers on a simulator of the chip, kernels compiled and run: pytest -m simulator, with TT_METAL_SIMULATOR set."""

from __future__ import annotations

import os

import pytest

from bitnet_tt.backends.ttnn.plan import PRECISIONS, Precision
from tests import golden_checkpoints as golden
from tests.device.agreement import check_cuts, check_golden, equal_integers

pytest.importorskip("ttnn", reason="the extra tt is not installed")
pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif("TT_METAL_SIMULATOR" not in os.environ, reason="TT_METAL_SIMULATOR names no simulator"),
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
    """One that differs, by a last bit of a norm, moves all that its token computes from then on."""
    first_layer, every_layer = equal_integers("bitnet-packed", "exact", monkeypatch)
    assert first_layer > 0.995
    assert every_layer > 0.9
