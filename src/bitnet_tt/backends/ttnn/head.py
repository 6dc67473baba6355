"""From hidden states to logits: the rows that are wanted, and no others, 32 at a time."""

from __future__ import annotations

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.ttnn import numerics
from bitnet_tt.backends.ttnn.bitlinear import multiply
from bitnet_tt.backends.ttnn.device import Card
from bitnet_tt.backends.ttnn.groups import SKIP
from bitnet_tt.backends.ttnn.paging import scatter_rows
from bitnet_tt.backends.ttnn.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.ttnn.weights import head_tiles, row_vector
from bitnet_tt.weights import ModelWeights


class Head:
    """The final norm and the lm_head. It always sees one tile of rows, so that a row's sums never depend on others."""

    def __init__(self, weights: ModelWeights, card: Card, plan: Plan) -> None:
        self._card, self._plan = card, plan
        self._norm = row_vector(card, weights.norm)
        dtype = ttnn.bfloat16 if plan.precision == "exact" else ttnn.bfloat8_b
        self._weights = head_tiles(card, weights.lm_head, dtype)
        self._picked = card.zeros([1, 1, DECODE_ROWS, plan.config.hidden_size], ttnn.float32)

    def __call__(self, hidden: ttnn.Tensor, wanted: NDArray[np.intp]) -> NDArray[np.float32]:
        """Logits of some rows.

        Args:
            hidden: float32 [1, 1, rows, hidden].
            wanted: At most 32 row numbers.

        Returns:
            float32 [len(wanted), vocab].
        """
        slots = np.full((1, hidden.shape[2]), SKIP, np.uint32)
        slots[0, wanted] = np.arange(len(wanted))
        scatter_rows(hidden, self._card.rows(slots, ttnn.uint32), self._picked)
        x = numerics.rms_norm(self._picked, self._norm, self._plan.config.rms_norm_eps)
        if self._plan.precision == "fast":
            x = ttnn.typecast(x, ttnn.bfloat16)
        logits = multiply(x, self._weights, self._plan.head(), self._plan.grid, numerics.MOST_BITS)
        rows = self._plan.decode_bucket(len(wanted))
        if rows < DECODE_ROWS:
            logits = ttnn.slice(logits, [0, 0, 0, 0], [1, 1, rows, self._plan.config.vocab_size])
        host: NDArray[np.float32] = logits.cpu().to_numpy()
        return host[0, 0, : len(wanted)]
