"""The work that is timed: the engine reads random prompts and continues them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bitnet_tt.backends.base import Backend
from bitnet_tt.config import GenerationConfig
from bitnet_tt.energy import Stopwatch
from bitnet_tt.engine import Request, Stepper
from bitnet_tt.engine.channel import ThreadChannel

_STEP_TOKENS = 512


class Workload:
    """The steps of an engine over a backend, with room for the longest sequence and the largest batch.

    It steps on the calling thread: a measurement times steps, and no thread waits for another.

    Attributes:
        vocab_size, prompt_length, context, new_tokens: The arguments of the constructor.
    """

    def __init__(
        self, backend: Backend, vocab_size: int, *, prompt_length: int, context: int, new_tokens: int, batch: int
    ) -> None:
        """Create the engine's steps.

        Args:
            backend: The backend to measure.
            vocab_size: Prompts are random token ids below this.
            prompt_length: Tokens of the prompt whose prefill is timed.
            context: Tokens of a sequence before its first generated token.
            new_tokens: Tokens to generate for each sequence.
            batch: Maximum number of sequences at once.
        """
        self.vocab_size = vocab_size
        self.prompt_length = prompt_length
        self.context = context
        self.new_tokens = new_tokens
        self._limit = new_tokens + tokens_ahead(context, batch)
        self._stepper = Stepper(
            backend,
            context_length=context_length(prompt_length, context, new_tokens, batch),
            max_batch_size=batch,
            max_batch_tokens=_step_tokens(batch),
        )
        self._rng = np.random.default_rng(0)
        self._prompts = [self._prompt(context) for _ in range(batch)]

    def prefill(self, length: int, watch: Stopwatch) -> None:
        """Read a prompt of `length` tokens and pick the token after it; `watch` measures this."""
        request = Request(self._prompt(length), GenerationConfig(max_new_tokens=1), ThreadChannel())
        with watch.running():
            self._stepper.add(request)
            while not request.ended:
                self._step()

    @contextmanager
    def decoding(self, batch: int, **options: Any) -> Iterator[Callable[[], object]]:
        """Bring `batch` sequences to their first generated token, or a few tokens further, and yield a step.

        Each call of the step appends one token to each sequence. The options are those of `GenerationConfig`.
        """
        config = GenerationConfig(max_new_tokens=self._limit, **options)
        requests = [Request(prompt, config, ThreadChannel()) for prompt in self._prompts[:batch]]
        try:
            for request in requests:
                self._stepper.add(request)
            while not all(request.generated for request in requests):
                self._step()
            yield self._step
        finally:
            for request in requests:
                self._stepper.end(request, "cancelled")

    @property
    def logits_computed(self) -> int:
        """How many logits the last step computed; 0 if the backend cannot tell."""
        return self._stepper.backend.stats().logits_computed or 0

    def _step(self) -> None:
        """Compute one step, and raise the error of a request that it ended.

        Raises:
            Exception: The error of the backend, or of the sampler.
        """
        self._stepper.step()
        for request, _ in self._stepper.take_news():
            if request.error is not None:
                raise request.error

    def decode(self, batch: int, watch: Stopwatch) -> None:
        """Append `new_tokens` tokens to each of `batch` sequences; `watch` measures this, without the prefill."""
        with self.decoding(batch) as step, watch.running():
            for _ in range(self.new_tokens):
                step()

    def _prompt(self, length: int) -> list[int]:
        return [int(token_id) for token_id in self._rng.integers(0, self.vocab_size, length)]


def tokens_ahead(context: int, batch: int) -> int:
    """Return the maximum number of tokens that one sequence generates until all sequences of its batch have one.

    The engine reads the prompts of a batch one after the other. Sequences that it has read already generate meanwhile.
    """
    return 1 + -(-batch * context // (_step_tokens(batch) - batch))


def context_length(prompt_length: int, context: int, new_tokens: int, batch: int) -> int:
    """Return the length of the longest sequence of the work, in tokens."""
    return max(prompt_length + 1, context + new_tokens + tokens_ahead(context, batch))


def _step_tokens(batch: int) -> int:
    return max(_STEP_TOKENS, 2 * batch)
