"""The work that is timed: the engine reads random prompts and continues them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from bitnet_tt.backends.base import Backend
from bitnet_tt.bench.measure.energy import Stopwatch
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine

_STEP_TOKENS = 512


class Workload:
    """An engine over a backend, with room for the longest sequence and the largest batch.

    Attributes:
        vocab_size, prompt_length, context, new_tokens: The arguments of the constructor.
    """

    def __init__(
        self, backend: Backend, vocab_size: int, *, prompt_length: int, context: int, new_tokens: int, batch: int
    ) -> None:
        """Create the engine.

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
        self._engine = Engine(
            backend,
            vocab_size=vocab_size,
            context_length=context_length(prompt_length, context, new_tokens, batch),
            max_batch_size=batch,
            max_batch_tokens=_step_tokens(batch),
        )
        self._rng = np.random.default_rng(0)
        self._prompts = [self._prompt(context) for _ in range(batch)]

    def prefill(self, length: int, watch: Stopwatch) -> None:
        """Read a prompt of `length` tokens and pick the token after it; `watch` measures this."""
        request = self._engine.request(self._prompt(length), GenerationConfig(max_new_tokens=1))
        with watch.running():
            for _ in self._engine.outputs(request):
                pass

    @contextmanager
    def decoding(self, batch: int) -> Iterator[Callable[[], object]]:
        """Bring `batch` sequences to their first generated token, or a few tokens further, and yield a step.

        Each call of the step appends one token to each sequence.
        """
        config = GenerationConfig(max_new_tokens=self._limit)
        requests = [self._engine.request(prompt, config) for prompt in self._prompts[:batch]]
        try:
            for request in requests:
                self._engine.submit(request)
            while not all(request.generated for request in requests):
                self._engine.step()
            yield self._engine.step
        finally:
            for request in requests:
                self._engine.cancel(request)

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
