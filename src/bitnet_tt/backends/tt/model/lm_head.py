"""The lm_head: from hidden states to logits, 32 rows at a time, and the part of them that the host reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter, StepResult
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import load_lm_head
from bitnet_tt.backends.tt.model.gather import Gather
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.lm_head.op import empty_logits, lm_head
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize
from bitnet_tt.backends.tt.ops.scatter_rows.op import scatter_rows
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, HeadOutput, Plan
from bitnet_tt.backends.tt.step.candidates import read_candidates
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.weights import ModelWeights, as_array


@dataclass(frozen=True, slots=True)
class HeadResult:
    """The logits that the lm_head left on the device for the host, see `HeadOutput`.

    Attributes:
        top_count: Logits that were found in each part of the vocabulary, see `HeadOutput.top_count`.
        logits: The whole rows, see `ops.lm_head`. None if the host does not need them.
        top: The largest logits of each part, see `ops.lm_head`. None if `top_count` is None.
        sizes: Number of tokens of each part.
    """

    top_count: int | None
    logits: ttnn.Tensor | None
    top: ttnn.Tensor | None
    sizes: NDArray[np.intp]

    def read_logits(self, card: Card | None) -> Callable[[], NDArray[np.float32]]:
        """Return a function that reads the whole rows, float32 [rows, tokens of all parts]; see `_read`."""
        read = _read(self.logits, card)
        return lambda: read()[:, : self.sizes.sum()]

    def read_top(self, card: Card | None) -> Callable[[], NDArray[np.uint32]]:
        """Return a function that reads the largest logits, uint32 [parts, rows, count, 2]: bits of a logit, and id."""
        read = _read(self.top, card)
        return lambda: read().reshape(len(self.sizes), -1, self.top_count or 1, 2)


class LMHead:
    """The final norm and the lm_head, or a part of the vocabulary. A row has the same bits in every number of rows."""

    def __init__(self, weights: ModelWeights, card: Card, plan: Plan, gather: Gather | None = None) -> None:
        self._card, self._plan, self._gather = card, plan, gather
        self._norm = Norm.load(card, weights.norm, plan.config.rms_norm_eps)
        own = plan.own.vocabulary
        self._weights = load_lm_head(card, as_array(weights.lm_head)[own.start : own.stop], plan.lm_head())
        self._picked = card.zeros([1, 1, DECODE_ROWS, plan.config.hidden_size], ttnn.float32)

    def pick(self, hidden: ttnn.Tensor, rows: NDArray[np.intp]) -> ttnn.Tensor:
        """Copy at most 32 rows of hidden states [1, 1, n, hidden] to the first rows of a tensor [1, 1, 32, hidden]."""
        slots = np.full((1, hidden.shape[2]), SKIP, np.uint32)
        slots[0, rows] = np.arange(len(rows))
        scatter_rows(hidden, self._card.rows(slots, ttnn.uint32), self._picked)
        return self._picked

    def empty_logits(self) -> ttnn.Tensor:
        """Make a tensor for the whole rows of any decode step."""
        return empty_logits(self._weights, DECODE_ROWS)

    def __call__(
        self, hidden: Strips | ttnn.Tensor, rows: int, output: HeadOutput, logits: ttnn.Tensor | None = None
    ) -> HeadResult:
        """Compute logits, and leave for the host what it needs of them; `read_heads` brings it there.

        Args:
            hidden: At most 32 rows: strips, or float32 [1, 1, 32, hidden].
            rows: The host needs only the first `rows` rows.
            output: What to leave for the host.
            logits: Takes the whole rows, if the output has them. None makes a new tensor.
        """
        norm, x = self._norm, hidden
        if not isinstance(hidden, Strips):
            dtype = ttnn.float32 if self._plan.precision == "exact" else ttnn.bfloat16
            norm, x = None, normalize(hidden, self._norm, dtype)
        own = self._plan.own.vocabulary
        logits, top = lm_head(
            x,
            norm,
            self._weights,
            output,
            rows=rows,
            vocab_size=len(own),
            first_token=own.start,
            logits=logits,
        )
        return HeadResult(output.top_count, logits, top, self._plan.vocabulary_sizes)

    def all_top(self, result: HeadResult) -> ttnn.Tensor:
        """Return the largest logits of all parts of the vocabulary, on all cards that have parts of it."""
        return result.top if self._gather is None else self._gather.top(result.top)


def read_heads(
    results: Sequence[HeadResult],
    rows: NDArray[np.intp],
    filters: Sequence[LogitFilter],
    cards: Sequence[Card] | None = None,
) -> StepResult:
    """Return a function that reads the candidates of some rows.

    Args:
        results: The results of the lm_head, or of all its parts.
        rows: Rows of its logits.
        filters: One for each of `rows`.
        cards: The cards of the results, to start to read now: then later steps may overwrite the results, and the
            function must live until the cards have read them. None reads when the function is called.
    """
    readers = [None] * len(results) if cards is None else cards
    if results[0].top_count is None:
        read = _read_rows(results, rows, readers)
        return lambda: [Candidates(row) for row in read()]
    tops = [result.read_top(card) for result, card in zip(results, readers, strict=True)]
    sizes = np.concatenate([result.sizes for result in results])

    @cache
    def whole_rows() -> NDArray[np.float32]:  # large, and rarely needed
        return _read_rows(results, rows, [None] * len(results))()

    def wait() -> list[Candidates]:
        entries = np.concatenate([read()[:, rows] for read in tops])
        return read_candidates(entries, filters, sizes, lambda index: whole_rows()[index])

    return wait


def _read_rows(
    results: Sequence[HeadResult], rows: NDArray[np.intp], cards: Sequence[Card | None]
) -> Callable[[], NDArray[np.float32]]:
    """Return a function that reads whole rows, float32 [rows, vocab]."""
    reads = [result.read_logits(card) for result, card in zip(results, cards, strict=True)]

    def wait() -> NDArray[np.float32]:
        parts = [read()[rows] for read in reads]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)  # large: copied only if need be

    return wait


def _read(tensor: ttnn.Tensor, card: Card | None) -> Callable[[], NDArray[Any]]:
    """Return a function that reads a tensor. A card starts to read it at once, None when the function is called."""
    return card.read_later(tensor) if card is not None else lambda: tensor.cpu().to_numpy()
