"""Agreement measures logits against a reference, and bars are met only if every limit is kept."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_tt.reference.compare import CLEAR_MARGIN, CONTRACT, Agreement, Bars, compare_logits


def test_equal_logits_agree_in_everything() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 50)).astype(np.float32)
    assert compare_logits(logits, logits) == Agreement(pytest.approx(1.0), 0.0, 1.0, 1.0)
    assert compare_logits(logits, logits).meets(CONTRACT)


def test_only_clear_first_choices_must_be_the_same() -> None:
    reference = np.random.default_rng(1).normal(size=(2, 50)).astype(np.float32)
    clear, tie = CLEAR_MARGIN * 100, CLEAR_MARGIN / 100
    reference[:, 0] = 5
    reference[:, 1] = [5 - clear, 5 - tie]
    logits = reference.copy()
    logits[1, :2] = logits[1, 1::-1]
    assert compare_logits(logits, reference).top1 == 0.5
    assert compare_logits(logits, reference).clear_top1 == 1.0
    logits[0, :2] = logits[0, 1::-1]
    assert compare_logits(logits, reference).clear_top1 == 0.0


def test_kl_is_the_mean_over_positions() -> None:
    reference = np.log(np.array([[0.5, 0.5], [0.5, 0.5]], np.float32))
    logits = np.log(np.array([[0.5, 0.5], [0.25, 0.75]], np.float32))
    expected = (0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)) / 2
    with np.errstate(invalid="ignore"):  # constant logits have no correlation
        assert compare_logits(logits, reference).mean_kl == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("field", ["correlation", "mean_kl", "clear_top1"])
def test_one_missed_limit_is_enough(field: str) -> None:
    bars = Bars(correlation=0.9, mean_kl=0.1, clear_top1=0.8)
    good = {"correlation": 0.9, "mean_kl": 0.1, "clear_top1": 0.8}
    assert Agreement(**good, top1=0.0).meets(bars)
    missed = Agreement(**(good | {field: 0.11 if field == "mean_kl" else 0.79}), top1=1.0)
    assert [name for name, met in bars.met_by(missed).items() if not met] == [field]
    assert not missed.meets(bars)
