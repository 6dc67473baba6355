"""Prompt look-up: draft the next tokens from the request's own text, and let one step verify several of them.

Texts often repeat themselves: a summary quotes, edited code stays mostly the same. The draft is what followed where the
last tokens stood before. The engine accepts a draft token only if the sampler picks the same token from the model's
logits at that position. So the text is the same with and without drafts; only the number of steps changes.

A step with more rows takes longer. So the length of drafts follows the measured times of steps and the acceptance rate,
and where drafting does not pay it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LENGTHS = (0, 1, 3, 7)
"""Lengths of drafts: with the row of the last token they fill 1, 2, 4 or 8 rows, for which kernels are made."""

_LONGEST, _SHORTEST = 4, 2
"""A draft needs at least 2 equal tokens before it; an earlier place with 4 is preferred."""

_RETRY_STEPS = 64
"""After so many steps without a draft one is tried: the text may have become more repetitive."""

_ASSUMED_COSTS = {1: 1.0, 2: 1.6, 4: 2.5, 8: 4.3}
"""Time of a step by its rows, until it is measured, as a ratio to a step of one row (2B4T's shape, two threads)."""


class PromptLookup:
    """Drafts how a text goes on. The time for each new token does not depend on the length of the text."""

    def __init__(self, tokens: Sequence[int] = ()) -> None:
        """Begin with the tokens of a prompt."""
        self._tokens: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}
        self.extend(tokens)

    def extend(self, tokens: Sequence[int]) -> None:
        """Add tokens to the text."""
        for token_id in tokens:
            # The sequences that end before this token now have a continuation.
            at = len(self._tokens)
            for length in range(_SHORTEST, min(_LONGEST, at) + 1):
                self._places[tuple(self._tokens[at - length :])] = at
            self._tokens.append(token_id)

    def draft(self, count: int) -> list[int]:
        """Return at most `count` tokens that may come next."""
        for length in range(_LONGEST, _SHORTEST - 1, -1):
            place = self._places.get(tuple(self._tokens[-length:])) if len(self._tokens) >= length else None
            if place is not None:
                return self._tokens[place : place + count]
        return []


class StepCosts:
    """The time of a step by its rows: moving averages of what was measured."""

    def __init__(self) -> None:
        """Begin without a measurement."""
        self._seconds: dict[int, float] = {}

    def record(self, rows: int, seconds: float) -> None:
        """Add the time of a step. Steps with other numbers of rows than a power of two are ignored."""
        if rows & (rows - 1) == 0:
            known = self._seconds.get(rows)
            self._seconds[rows] = seconds if known is None else 0.9 * known + 0.1 * seconds

    def seconds(self, rows: int) -> float:
        """Return the expected time of a step; of any unit if nothing was measured."""
        size = 1 << (rows - 1).bit_length()  # the next power of two: rows come in groups
        if size in self._seconds:
            return self._seconds[size]
        near = min(self._seconds, key=lambda known: abs(known - size), default=None)
        if near is None:
            return _assumed_cost(size)
        return self._seconds[near] * _assumed_cost(size) / _assumed_cost(near)


def _assumed_cost(rows: int) -> float:
    largest = max(_ASSUMED_COSTS)
    return _ASSUMED_COSTS[rows] if rows <= largest else _ASSUMED_COSTS[largest] * rows / largest


@dataclass(slots=True)
class Speculation:
    """The drafts of one request, and how long to make them.

    Attributes:
        lookup: The text so far.
        acceptance_rate: The share of draft tokens that were accepted: a moving average; an assumption at first.
        skipped: Steps without a draft since the last one.
    """

    lookup: PromptLookup
    acceptance_rate: float = 0.7
    skipped: int = 0

    def draft(self, rows: int, costs: StepCosts, limit: int) -> list[int]:
        """Return the tokens to verify in the next step, or none.

        Args:
            rows: The rows of the step without drafts, that of this request included.
            costs: The measured times of steps.
            limit: Maximum length of the draft.
        """
        length = best_length(self.acceptance_rate, rows, costs)
        if length == 0:
            self.skipped += 1
            length = 1 if self.skipped % _RETRY_STEPS == 0 else 0
        return self.lookup.draft(min(length, limit)) if length else []

    def record(self, drafted: int, accepted: int) -> None:
        """Add the result of a step: the length of the draft, and how many of its first tokens were accepted."""
        for index in range(min(drafted, accepted + 1)):
            self.acceptance_rate = 0.9 * self.acceptance_rate + 0.1 * (index < accepted)


def best_length(acceptance_rate: float, rows: int, costs: StepCosts) -> int:
    """Return the length of a draft that gives the most tokens a second.

    Args:
        acceptance_rate: The probability that a draft token is accepted, if those before it are.
        rows: The rows of the step without drafts.
        costs: The measured times of steps.
    """

    def tokens_per_second(length: int) -> float:
        # The token after the accepted ones comes free: its logits are in the same step.
        expected = sum(acceptance_rate**index for index in range(length + 1))
        return (rows - 1 + expected) / costs.seconds(rows + length)

    return max(LENGTHS, key=tokens_per_second)
