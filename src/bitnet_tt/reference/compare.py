"""What "equal" means for the logits of a whole model, and whether two sets of logits are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CORRELATION = 0.9995
MIN_FAST_CORRELATION = 0.999
"""What is promised of a Tenstorrent card at precision `fast`, which attends in bfloat16."""

MAX_MEAN_KL = 5e-3
CLEAR_MARGIN = 0.1
"""A top-1 must agree where the reference's first leads its second by more than this share of the logits' deviation."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How closely logits follow reference logits.

    Attributes:
        correlation: Pearson correlation over all logits.
        mean_kl: Mean over positions of KL(reference || logits), in nats.
        top1: Share of positions with the same most probable token.
        clear_top1: The same among positions with a clear margin.
    """

    correlation: float
    mean_kl: float
    top1: float
    clear_top1: float

    @property
    def equal(self) -> bool:
        """Whether all three bars are met."""
        return self.correlation >= MIN_CORRELATION and self.mean_kl <= MAX_MEAN_KL and self.clear_top1 == 1.0


def compare_logits(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> Agreement:
    """Measure logits [..., vocab] against reference logits of the same shape."""
    ours, theirs = (array.reshape(-1, array.shape[-1]).astype(np.float64) for array in (logits, reference))
    log_p, log_q = _log_softmax(theirs), _log_softmax(ours)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    same = ours.argmax(axis=-1) == theirs.argmax(axis=-1)
    second, first = np.partition(theirs, -2, axis=-1)[:, -2:].T
    clear = first - second > CLEAR_MARGIN * theirs.std()
    return Agreement(
        correlation=float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]),
        mean_kl=float(kl.mean()),
        top1=float(same.mean()),
        clear_top1=float(same[clear].mean()) if clear.any() else 1.0,
    )


def _log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = x - x.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
