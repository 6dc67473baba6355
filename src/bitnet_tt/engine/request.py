"""A request on its way through the engine, and the tokens that come out of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling import RandomStream, TokenLogprob

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """One generated token.

    Attributes:
        token_id: The token; an end-of-text token comes too, as the last.
        finish_reason: Why the request ends with this token: `stop` (an end-of-text or stop id), `length`; else None.
        logprob: Its log-probability and the alternatives', if asked for.
    """

    token_id: int
    finish_reason: FinishReason | None = None
    logprob: TokenLogprob | None = None


@dataclass(slots=True, eq=False)
class Request:
    """A prompt being continued. The engine alone changes it; callers take tokens from `outputs`.

    Attributes:
        prompt: Token ids.
        config: How to generate.
        eos_token_ids: The ids that end this text.
        tokens: Prompt and generated tokens.
        computed: How many of `tokens` have their keys and values in the cache.
        block_table: The cache blocks it holds.
        reused: Prompt tokens that were found in the cache.
        finish_reason: Set once it has ended.
        outputs: Tokens not yet taken by the caller.
        submitted_at: When it was queued, in seconds of `time.perf_counter`; 0 before. Likewise the two that follow.
        first_token_at: When its first token was sampled.
        finished_at: When it ended.
    """

    prompt: Sequence[int]
    config: GenerationConfig
    eos_token_ids: frozenset[int] = frozenset()
    tokens: list[int] = field(init=False)
    computed: int = 0
    block_table: list[int] = field(default_factory=list)
    reused: int = 0
    finish_reason: FinishReason | None = None
    outputs: deque[TokenOutput] = field(default_factory=deque)
    submitted_at: float = 0.0
    first_token_at: float = 0.0
    finished_at: float = 0.0
    stream: RandomStream = field(init=False)

    def __post_init__(self) -> None:
        """Start the text and its random stream."""
        self.tokens = list(self.prompt)
        self.stream = RandomStream(self.config.seed)

    @property
    def pending(self) -> int:
        """Tokens still to be computed before the next can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.prompt)
