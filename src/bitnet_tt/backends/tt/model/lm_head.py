"""From hidden states to logits, 32 rows at a time, and to what of them the host asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.backends.tt.device import fidelity as numerics
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import head_tiles
from bitnet_tt.backends.tt.model.bitlinear import multiply
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize
from bitnet_tt.backends.tt.ops.paging import scatter_rows
from bitnet_tt.backends.tt.ops.top_logits.op import top_logits
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan, Want
from bitnet_tt.backends.tt.step.candidates import read_top
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.weights import ModelWeights


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found of some rows' logits, on the device.

    Attributes:
        count: See `Want.count`.
        logits: float32 [1, 1, 32, vocab], if they are wanted.
        top: See `top_logits`, if there is a count.
    """

    count: int | None
    logits: ttnn.Tensor | None
    top: ttnn.Tensor | None


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

    def __call__(self, hidden: ttnn.Tensor, rows: int, want: Want) -> Answer:
        """What the host may need to know of some rows' logits; `read` makes sense of it.

        Args:
            hidden: float32 [1, 1, 32, hidden].
            rows: Only the first so many rows are wanted.
            want: What of them.
        """
        x = normalize(hidden, self._norm, ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16)
        # What a trace keeps must not take L1 away from other steps.
        memory = ttnn.DRAM_MEMORY_CONFIG if want.whole else hidden.memory_config()
        logits = multiply(x, self._weights, self._plan.head(), self._plan.grid, numerics.MOST_BITS, memory)
        top = None if want.count is None else top_logits(logits, rows, want.count, self._plan)
        return Answer(want.count, logits if want.whole else None, top)

    def read(self, answer: Answer, rows: NDArray[np.intp], filters: Sequence[LogitFilter]) -> list[Candidates]:
        """Bring some rows of `__call__`'s answer to the host, or of each what its cut lets pass."""

        @cache
        def whole() -> NDArray[np.float32]:
            assert answer.logits is not None
            logits: NDArray[np.float32] = answer.logits.cpu().to_numpy()[0, 0, rows]
            return logits

        if answer.top is None:
            return [Candidates(row) for row in whole()]
        parts, _ = self._plan.vocabulary_parts
        entries = answer.top.cpu().to_numpy().reshape(parts, -1, answer.count, 2)
        return read_top(entries[:, rows], filters, self._plan, lambda index: whole()[index])
