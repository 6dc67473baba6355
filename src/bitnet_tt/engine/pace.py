"""Cut long prompts so that running streams keep a bounded time between two tokens."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Sequence

import numpy as np

from bitnet_tt.engine.batch import Chunk

_MIN_TOKENS = 16
"""A step computes at least this many tokens of a prompt, however slow the machine is."""

_FIRST_TOKENS = 32
"""The tokens of a step before anything was measured."""

_SAMPLES = 3
"""The time of a token is the median of this many steps, so one slow step does not count."""


class Pace:
    """Says how many prompt tokens a step may compute while streams wait for their next token.

    It measures earlier steps. The number is a power of two, because a card computes others as the next larger one.
    The prompt tokens of a score, which need logits each, are measured apart from those of other prompts.

    Args:
        max_stall: The maximum time of such a step in seconds. None means no limit.
    """

    def __init__(self, max_stall: float | None) -> None:
        self._max_stall = max_stall
        # Seconds of one prompt token in the last steps, by `Request.is_score`.
        self._token_seconds: dict[bool, deque[float]] = {kind: deque(maxlen=_SAMPLES) for kind in (False, True)}
        self._decode_seconds = 0.0  # of the last step that only decoded
        self._decode_tokens = 0  # of that step
        self._left = math.inf
        self._has_prompt = False

    def begin(self, *, streams: bool) -> None:
        """Begin to plan a step.

        Args:
            streams: Whether the step decodes running streams. Otherwise nobody waits, and prompts have no limit.
        """
        self._has_prompt = False
        self._left = math.inf
        if streams and self._max_stall is not None:
            self._left = max(self._max_stall - self._decode_seconds, self._max_stall / 4)

    def limit(self, *, is_score: bool) -> int:
        """Return how many more prompt tokens this step may compute. At least one prompt may compute something."""
        if self._left == math.inf:
            return sys.maxsize
        seconds = self._seconds_per_token(is_score)
        tokens = int(self._left / seconds) if seconds else _FIRST_TOKENS
        if tokens < _MIN_TOKENS:
            return 0 if self._has_prompt else _MIN_TOKENS
        return 1 << (tokens.bit_length() - 1)

    def spend(self, tokens: int, *, is_score: bool) -> None:
        """Count prompt tokens that were added to this step."""
        self._has_prompt = True
        self._left -= tokens * self._seconds_per_token(is_score)

    def record(self, step: Sequence[Chunk], decoding: int, seconds: float) -> None:
        """Learn from a step.

        Args:
            step: Its chunks.
            decoding: How many of them, the first ones, were running streams.
            seconds: The time that it took.
        """
        prompts = step[decoding:]
        if not prompts:
            self._decode_seconds, self._decode_tokens = seconds, sum(chunk.size for chunk in step)
            return
        kinds = {chunk.request.is_score for chunk in prompts}
        if len(kinds) == 1:  # a step with both kinds does not tell what each of them takes
            tokens = sum(chunk.size for chunk in prompts)
            decode_seconds = min(self._decode_seconds, seconds / 2) if decoding else 0.0
            self._token_seconds[kinds.pop()].append((seconds - decode_seconds) / tokens)

    def _seconds_per_token(self, is_score: bool) -> float:
        """Return the expected time of a prompt token; 0 if nothing is known."""
        if self._token_seconds[is_score]:
            return float(np.median(self._token_seconds[is_score]))
        # A token of a long prompt takes no longer than one of a decode step, which reads all weights for few tokens.
        return self._decode_seconds / self._decode_tokens if self._decode_tokens else 0.0
