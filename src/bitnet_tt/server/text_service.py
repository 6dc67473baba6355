"""TextService: what generates, scores and embeds texts for the server, here or elsewhere, and its room for texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import GenerationConfig
from bitnet_tt.generation import Piece
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.server.structured_output import Grammar


class QueueFullError(Exception):
    """There is no room for the texts of a request; the client should try again later."""


class DeadlineError(Exception):
    """A text was not complete when its time was over."""

    @classmethod
    def after(cls, seconds: float) -> DeadlineError:
        """Return the error of a text that took longer than the limit of the server, in seconds."""
        return cls(
            f"the answer was not complete within {seconds:g} seconds, the limit of this server; "
            "ask for fewer tokens, or send the request again when the server has less to do"
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What the service does at one moment.

    Attributes:
        running: Texts that are computed.
        waiting: Texts that wait for a place in the batch.
        blocks: Blocks of the KV cache.
        used_blocks: Blocks that running texts hold.
        preemptions: How often a running text gave its blocks back and waited again.
        draft_tokens: Tokens that speculation drafted.
        accepted_tokens: How many of them were right.
    """

    running: int
    waiting: int
    blocks: int
    used_blocks: int
    preemptions: int
    draft_tokens: int
    accepted_tokens: int


class TextService(ABC):
    """Generates, scores and embeds texts for asyncio code. Everything is called in the thread of the event loop.

    Args:
        max_running: How many texts are computed together.
        max_waiting: How many more texts may wait.
        timeout: Maximum time of a text from its arrival to its end, in seconds. None means no limit.
    """

    def __init__(self, *, max_running: int, max_waiting: int, timeout: float | None = None) -> None:
        self._admitted = 0
        self._max_running = max_running
        self.max_waiting = max_waiting
        self.timeout = timeout

    @property
    def max_running(self) -> int:
        """How many texts are computed together."""
        return self._max_running

    @property
    def running(self) -> int:
        """How many texts are computed now."""
        return min(self._admitted, self.max_running)

    @property
    def waiting(self) -> int:
        """How many texts wait now."""
        return self._admitted - self.running

    def admit(self, count: int) -> None:
        """Take room for texts, all of them or none. The caller gives it back by `release`, one text at a time.

        Raises:
            QueueFullError: There is no room.
        """
        if self._admitted + count > self.max_running + self.max_waiting:
            raise QueueFullError
        self._admitted += count

    def release(self) -> None:
        """Give the room of one text back."""
        self._admitted -= 1

    @abstractmethod
    def stream(
        self,
        prompt_ids: Sequence[int],
        config: GenerationConfig,
        *,
        choice: int = 0,
        grammar: Grammar | None = None,
        cache_key: str = "",
    ) -> AsyncGenerator[Piece]:
        """Continue a prompt and yield the text as it is generated. Closing the generator cancels it, in any phase.

        Args:
            prompt_ids: Token ids.
            config: How to pick tokens and when to stop.
            choice: Which of several texts of the same prompt and seed this is.
            grammar: The text fits it; None allows all texts.
            cache_key: Prefixes in the KV cache are shared only among requests with equal keys.

        Raises:
            RequestError: The prompt is empty, too long, or has ids outside the vocabulary.
            DeviceError: The model is closed.
            DeadlineError: The time of the text is over.
        """

    @abstractmethod
    async def score(self, token_ids: Sequence[int], top: int, *, cache_key: str = "") -> list[TokenLogprob | None]:
        """Return the log-probability of each token of a text; that of the first is None.

        Args:
            token_ids: The text.
            top: How many of the most probable tokens to report at each position.
            cache_key: As in `stream`.

        Raises:
            RequestError: The text is empty, longer than the context, or has ids outside the vocabulary.
            DeviceError: The model is closed.
            DeadlineError: The time of the text is over.
        """

    @abstractmethod
    async def embed(self, token_ids: Sequence[int], *, cache_key: str = "") -> NDArray[np.float32]:
        """Return the embedding of a text, float32 [hidden].

        Args:
            token_ids: The text.
            cache_key: As in `stream`.

        Raises:
            RequestError, DeviceError, DeadlineError: As in `score`.
        """

    @abstractmethod
    def load(self) -> Load:
        """Return what the service does now."""

    @abstractmethod
    def seconds_without_progress(self) -> float:
        """Return how long the current step takes already; 0 between two steps. If the device hangs, it grows."""

    @abstractmethod
    def failure(self) -> str | None:
        """Return why no text can be generated now; None if the service works."""

    @abstractmethod
    def cancel_all(self) -> None:
        """End every text early; their streams end without a finish reason."""
