"""From hidden states to logits, 32 rows at a time, and to what of them the host asks for."""

from __future__ import annotations

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates
from bitnet_tt.backends.ttnn import numerics
from bitnet_tt.backends.ttnn.bitlinear import multiply
from bitnet_tt.backends.ttnn.device import Card
from bitnet_tt.backends.ttnn.groups import SKIP
from bitnet_tt.backends.ttnn.paging import scatter_rows
from bitnet_tt.backends.ttnn.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.ttnn.rows import Norm, normalize
from bitnet_tt.backends.ttnn.top import read_top, top_logits
from bitnet_tt.backends.ttnn.weights import head_tiles
from bitnet_tt.weights import ModelWeights


class Head:
    """The final norm and the lm_head. It always sees one tile of rows, so that a row's sums never depend on others."""

    def __init__(self, weights: ModelWeights, card: Card, plan: Plan) -> None:
        self._card, self._plan = card, plan
        self._norm = Norm.load(card, weights.norm, plan.config.rms_norm_eps)
        dtype = ttnn.bfloat16 if plan.precision == "exact" else ttnn.bfloat8_b
        self._weights = head_tiles(card, weights.lm_head, dtype)
        self._picked = card.zeros([1, 1, DECODE_ROWS, plan.config.hidden_size], ttnn.float32)

    def pick(self, hidden: ttnn.Tensor, rows: NDArray[np.intp]) -> ttnn.Tensor:
        """Collect at most 32 rows of hidden states [1, 1, n, hidden] as the first rows of [1, 1, 32, hidden]."""
        slots = np.full((1, hidden.shape[2]), SKIP, np.uint32)
        slots[0, rows] = np.arange(len(rows))
        scatter_rows(hidden, self._card.rows(slots, ttnn.uint32), self._picked)
        return self._picked

    def __call__(self, hidden: ttnn.Tensor, rows: int, count: int | None) -> ttnn.Tensor:
        """What the host needs to know of some rows' logits; `read` makes sense of it.

        Args:
            hidden: float32 [1, 1, 32, hidden].
            rows: Only the first so many rows are wanted.
            count: The greatest so many logits of each, see `Plan.top_count`; None for all.
        """
        x = normalize(hidden, self._norm, ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16)
        logits = multiply(x, self._weights, self._plan.head(), self._plan.grid, numerics.MOST_BITS)
        if count is not None:
            return top_logits(logits, rows, count, self._plan)
        if rows < DECODE_ROWS:
            logits = ttnn.slice(logits, [0, 0, 0, 0], [1, 1, rows, self._plan.config.vocab_size])
        return logits

    def read(self, answer: ttnn.Tensor, rows: NDArray[np.intp], count: int | None) -> list[Candidates]:
        """Bring some rows of `__call__`'s answer to the host."""
        host = answer.cpu().to_numpy()
        if count is None:
            return [Candidates(row) for row in host[0, 0, rows]]
        return read_top(host, rows, count)
