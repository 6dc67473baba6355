"""A request: a text that the engine computes, and what it knows about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.channel import Channel
from bitnet_tt.engine.masks import StepMask
from bitnet_tt.engine.speculation import Speculation
from bitnet_tt.generation import FinishReason, TextStream, Timings
from bitnet_tt.sampling import Constraint, RandomNumbers, Text, logit_filter, sample

type OnLogits = Callable[[int, Sequence[NDArray[np.float32]]], None]
"""Takes the logits of some positions of a text: the first position, and one row float32 [vocab] for each.

The rows are valid during the call only.
"""


type OnHidden = Callable[[NDArray[np.float32]], None]
"""Takes the normed hidden state of the last token of a text, float32 [hidden]."""


class RequestOptions(TypedDict, total=False):
    """Options of `Engine.request` and `AsyncEngine.stream`.

    Attributes:
        choice: Which of several texts of the same prompt and seed this is; each has its own random numbers.
        constraint: Says which tokens may come next, such as a grammar. It must be new, at the end of the prompt.
        timeout: End the text with the reason `timeout` this many seconds after it was submitted. It ends between two
            steps. None means no limit.
        cache_key: Reuse cached beginnings only of requests with an equal key.
        resumed: The tokens that another engine generated for this text already, with the same prompt, settings, seed
            and choice. The text goes on as if this engine had generated them; it has no pieces for them.
    """

    choice: int
    constraint: Constraint | None
    timeout: float | None
    cache_key: str
    resumed: Sequence[int]


@dataclass(slots=True, eq=False)
class Request:
    """A prompt that is continued, or a text that is scored or embedded.

    Only the driver's thread changes a request after it was submitted. Any thread may read it. Times are in seconds of
    `time.perf_counter`, 0 until known.

    Attributes:
        prompt: Token ids.
        config: How to pick tokens and when to stop.
        channel: Where its pieces go.
        eos_token_ids: The ids that end this text.
        text_stream: Decodes its tokens and finds stop strings. None leaves the text of all pieces empty.
        timeout, cache_key, choice, constraint, resumed: See `RequestOptions`.
        on_logits: Called once a step with the logits of its next positions. Such a request is a score: it ends when all
            positions are computed, and generates nothing.
        on_hidden: Called when all tokens are computed. Such a request is an embedding, and generates nothing.
        tokens: Prompt and generated tokens.
        computed: How many of `tokens` have their keys and values in the cache.
        scored: How many positions `on_logits` has seen, or need not see.
        block_table: The cache blocks that it holds.
        reused: How many tokens of the prompt were found in the cache.
        finish_reason: Why it ended; None until then, and if it ended by an error.
        error: The error that ended it; None if there is none.
        submitted_at: When it was queued.
        started_at: When its first step began.
        first_token_at: When its first token was sampled.
        finished_at: When it ended.
        numbers: Its random numbers.
        speculation: Drafts its next tokens; None does not.
        draft: The tokens that its next step verifies.
        so_far: Its tokens at each row of the step, as `next_filters` showed them to the sampler.
        mask: The tokens that may come next, in the current step; None allows all.
        appended: How many tokens the last step that sampled appended: one, and those that were forced or drafted.
    """

    prompt: Sequence[int]
    config: GenerationConfig
    channel: Channel
    eos_token_ids: frozenset[int] = frozenset()
    text_stream: TextStream | None = None
    timeout: float | None = None
    cache_key: str = ""
    on_logits: OnLogits | None = None
    on_hidden: OnHidden | None = None
    choice: int = 0
    constraint: Constraint | None = None
    resumed: Sequence[int] = ()
    tokens: list[int] = field(init=False)
    computed: int = 0
    scored: int = 0
    block_table: list[int] = field(default_factory=list)
    reused: int = 0
    finish_reason: FinishReason | None = None
    error: BaseException | None = None
    submitted_at: float = 0.0
    started_at: float = 0.0
    first_token_at: float = 0.0
    finished_at: float = 0.0
    numbers: RandomNumbers = field(init=False)
    speculation: Speculation | None = None
    draft: list[int] = field(default_factory=list)
    so_far: list[Text] = field(default_factory=list)
    mask: StepMask | None = None
    appended: int = 0

    def __post_init__(self) -> None:
        """Begin the text with the prompt, bring it to where it was resumed, and seed the random numbers."""
        self.tokens = [*self.prompt, *self.resumed]
        for token_id in self.resumed:
            if self.text_stream is not None:
                self.text_stream.push(token_id)
            if self.constraint is not None:
                self.constraint.accept(token_id)
        self.numbers = RandomNumbers(self.config.seed, self.choice)

    @property
    def pending(self) -> int:
        """Number of tokens to compute before the next token can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        """Number of tokens generated so far."""
        return len(self.tokens) - len(self.prompt)

    @property
    def decoding(self) -> bool:
        """Whether its next step computes only tokens that the last one appended."""
        return 0 < self.pending <= self.appended

    @property
    def is_score(self) -> bool:
        """Whether it computes logits and generates nothing."""
        return self.on_logits is not None

    @property
    def is_embedding(self) -> bool:
        """Whether it computes a hidden state and generates nothing."""
        return self.on_hidden is not None

    @property
    def ended(self) -> bool:
        """Whether no more steps compute it."""
        return self.finish_reason is not None or self.error is not None

    @property
    def deadline(self) -> float:
        """When it is ended with the reason `timeout`; infinity if never."""
        return math.inf if self.timeout is None else self.submitted_at + self.timeout

    def timings(self) -> Timings:
        """Return the timings of a request that has ended."""
        started = self.started_at or self.finished_at
        first_token = self.first_token_at or self.finished_at
        return Timings(
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused,
            generated_tokens=self.generated,
            first_token_seconds=first_token - self.submitted_at,
            decode_seconds=self.finished_at - first_token,
            queue_seconds=started - self.submitted_at,
        )

    def next_filters(self, draft: Sequence[int]) -> list[LogitFilter]:
        """Return which logits `pick` needs for the next token, and for the one after each token of a draft."""
        self.mask = None if self.constraint is None else StepMask(self.constraint)
        texts = [self.tokens, *([*self.tokens, *draft[:end]] for end in range(1, len(draft) + 1))]
        self.so_far = [Text(tokens, len(self.prompt)) for tokens in texts]
        return [logit_filter(self.config, text, self.numbers, self.mask) for text in self.so_far]

    def pick(self, row: Candidates, index: int) -> int:
        """Pick the next token from the logits that filter `index` of `next_filters` passes, and tell the constraint.

        Raises:
            RequestError: The constraint allows no token.
        """
        allowed = None if self.mask is None else self.mask.result()
        token_id = sample(row, self.config, self.so_far[index], self.numbers, allowed)
        if self.constraint is not None:
            self.constraint.accept(token_id)
        return token_id

    def pick_forced(self) -> int | None:
        """Pick the next token without logits, if the constraint forces it, and tell the constraint.

        A request for log-probabilities needs the logits all the same.
        """
        if self.constraint is None or self.config.logprobs is not None:
            return None
        token_id = self.constraint.forced()
        if token_id is not None:
            self.constraint.accept(token_id)
        return token_id
