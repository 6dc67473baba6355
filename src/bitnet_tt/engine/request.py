"""A request: a prompt that the engine continues, and the tokens that come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import Constraint, RandomNumbers, Text, TokenLogprob, logit_filter, sample

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """One generated token.

    Attributes:
        token_id: The token. An end-of-text token is reported too, as the last one.
        finish_reason: Why the request ends with this token: `stop` (an end-of-text or stop id) or `length`. None if it
            does not end.
        logprob: Its log-probability and those of the most probable tokens; None unless the request asks for them.
    """

    token_id: int
    finish_reason: FinishReason | None = None
    logprob: TokenLogprob | None = None


@dataclass(slots=True, eq=False)
class Request:
    """A prompt that is being continued.

    Only the engine changes a request, under its lock. Any thread may read it. One thread for each request iterates
    `Engine.outputs`, which takes the tokens from `outputs`. Times are in seconds of `time.perf_counter`, 0 until known.

    Attributes:
        prompt: Token ids.
        config: How to pick tokens and when to stop.
        eos_token_ids: The ids that end this text.
        choice: Which of several texts of the same prompt and seed this is; the first is 0.
        constraint: Says which tokens may come next; None allows all.
        tokens: Prompt and generated tokens.
        computed: How many of `tokens` have their keys and values in the cache.
        block_table: The cache blocks that it holds.
        reused: How many tokens of the prompt were found in the cache.
        finish_reason: Why it ended; None until then.
        outputs: Tokens that the caller has not taken yet.
        submitted_at: When it was queued.
        first_token_at: When its first token was sampled.
        finished_at: When it ended.
        numbers: Its random numbers.
        text: The text so far, as `next_filter` saw it.
        allowed: The tokens that may come next, as the constraint said when `next_filter` asked it.
    """

    prompt: Sequence[int]
    config: GenerationConfig
    eos_token_ids: frozenset[int] = frozenset()
    choice: int = 0
    constraint: Constraint | None = None
    tokens: list[int] = field(init=False)
    computed: int = 0
    block_table: list[int] = field(default_factory=list)
    reused: int = 0
    finish_reason: FinishReason | None = None
    outputs: deque[TokenOutput] = field(default_factory=deque)
    submitted_at: float = 0.0
    first_token_at: float = 0.0
    finished_at: float = 0.0
    numbers: RandomNumbers = field(init=False)
    text: Text = field(init=False)
    allowed: NDArray[np.uint32] | None = None

    def __post_init__(self) -> None:
        """Begin the text with the prompt, and seed the random numbers."""
        self.tokens = list(self.prompt)
        self.numbers = RandomNumbers(self.config.seed, self.choice)

    @property
    def pending(self) -> int:
        """Number of tokens to compute before the next token can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        """Number of tokens generated so far."""
        return len(self.tokens) - len(self.prompt)

    def next_filter(self) -> LogitFilter:
        """Return which logits `pick` needs for the next token.

        Raises:
            RequestError: The constraint allows no token.
        """
        self.allowed = None if self.constraint is None else self.constraint.mask()
        self.text = Text(self.tokens, len(self.prompt))
        return logit_filter(self.config, self.text, self.allowed)

    def pick(self, row: Candidates) -> int:
        """Pick the next token from the logits that `next_filter` passes, and tell the constraint."""
        token_id = sample(row, self.config, self.text, self.numbers, self.allowed)
        if self.constraint is not None:
            self.constraint.accept(token_id)
        return token_id
