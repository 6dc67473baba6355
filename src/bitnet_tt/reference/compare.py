"""Compare the logits of a whole model with reference logits, and say how close they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLEAR_MARGIN = 0.1
"""A row's first choice is clear if its largest logit leads the second by more than this share of the standard deviation
of all reference logits."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The limits that an agreement with reference logits must keep.

    Attributes:
        correlation: Minimum Pearson correlation over all logits.
        mean_kl: Maximum mean KL divergence, in nats.
        clear_top1: Minimum share of equal first choices among the rows whose first choice is clear.
    """

    correlation: float
    mean_kl: float
    clear_top1: float

    def met_by(self, agreement: Agreement) -> dict[str, bool]:
        """Return for each field whether an agreement keeps its limit."""
        return {
            "correlation": agreement.correlation >= self.correlation,
            "mean_kl": agreement.mean_kl <= self.mean_kl,
            "clear_top1": agreement.clear_top1 >= self.clear_top1,
        }


CONTRACT = Bars(correlation=0.9995, mean_kl=5e-3, clear_top1=1.0)
"""The promise of the numerics contract (docs/numerics.md), for the CPU and for a Tenstorrent card at `exact`."""

FAST = Bars(correlation=0.999, mean_kl=5e-3, clear_top1=1.0)
"""The promise of a Tenstorrent card at precision `fast`, whose lm_head has 8 bits."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A measure of how closely logits follow reference logits.

    Attributes:
        correlation: Pearson correlation over all logits.
        mean_kl: Mean over positions of KL(reference || logits), in nats.
        top1: Share of positions with the same most probable token.
        clear_top1: The same share among the positions whose first choice is clear, see `CLEAR_MARGIN`.
    """

    correlation: float
    mean_kl: float
    top1: float
    clear_top1: float

    def meets(self, bars: Bars) -> bool:
        """Return whether all limits of `bars` are kept."""
        return all(bars.met_by(self).values())


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
