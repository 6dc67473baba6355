"""The engine: requests go in, pieces of text come out, and one thread computes them all in batches."""

from __future__ import annotations

import time
import weakref
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.channel import Channel, ThreadChannel
from bitnet_tt.engine.collect import Embedder, Scorer
from bitnet_tt.engine.driver import Driver
from bitnet_tt.engine.request import OnHidden, OnLogits, Request, RequestOptions
from bitnet_tt.engine.speculation import PromptLookup, Speculation
from bitnet_tt.engine.step import Stepper
from bitnet_tt.errors import RequestError
from bitnet_tt.generation import Piece, TextStream
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class EngineStats:
    """The load of an engine at one moment.

    Attributes:
        blocks: Blocks of the KV cache, `BLOCK_SIZE` positions each.
        free_blocks: Blocks that no request holds. They may still have contents that a later prompt can reuse.
        running: Requests that are in the batch.
        waiting: Requests that wait for a place in the batch.
        steps: How many steps there were.
        step_seconds: How long the current step takes already; 0 between two steps. If it grows and grows, the device
            hangs.
        preemptions: How often a running request gave its blocks back and waited again.
        draft_tokens: How many tokens were drafted, see `speculate`.
        accepted_tokens: How many of them were right.
    """

    blocks: int
    free_blocks: int
    running: int
    waiting: int
    steps: int
    step_seconds: float
    preemptions: int
    draft_tokens: int
    accepted_tokens: int


class Engine:
    """Continues many prompts at once.

    Threads: any thread may call any method. One thread, the engine's own, computes all steps, see `Driver`. `submit`,
    `cancel`, `close` and `stats` never wait for a step. `outputs`, `logits` and `score` wait for the results of their
    own request only. `AsyncEngine` is for asyncio. In a process that was forked after the engine was made, every method
    raises DeviceError at once, except `cancel`, `close` and `join`.

    An engine that is garbage collected ends its thread, but does not close the backend.

    Args:
        backend: The model on its device. The engine owns it: `close` closes it.
        vocab_size: Token ids are below this.
        context_length: Maximum number of tokens of one text, prompt included.
        tokenizer: Turns tokens into text and finds stop strings. None leaves the text of all pieces empty.
        eos_token_ids: The model's own end-of-text ids.
        max_batch_size: Maximum number of requests in a batch; further ones wait.
        max_batch_tokens: Maximum number of tokens of one step; a longer prompt takes several steps.
        num_blocks: Blocks of the KV cache, see `Stepper`.
        max_queue: Maximum number of requests that wait while `max_batch_size` others run. None means no limit.
        max_stall_ms: While streams run, prompts are cut so that a step takes about this many milliseconds at most.
            None does not cut them.
        speculate: Draft tokens from the texts themselves and verify several in a step, where that is faster. It changes
            no result.

    Raises:
        DeviceError: The device has no memory for the cache of one text, or for `num_blocks` blocks.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        vocab_size: int,
        context_length: int,
        tokenizer: Tokenizer | None = None,
        eos_token_ids: Iterable[int] = (),
        max_batch_size: int = 8,
        max_batch_tokens: int = 512,
        num_blocks: int | None = None,
        max_queue: int | None = None,
        max_stall_ms: float | None = 200.0,
        speculate: bool = False,
    ) -> None:
        self.backend = backend
        self.vocab_size = vocab_size
        self.context_length = context_length
        self._tokenizer = tokenizer
        self._speculate = speculate
        self._eos_token_ids = frozenset(eos_token_ids)
        self._stepper = Stepper(
            backend,
            context_length=context_length,
            max_batch_size=max_batch_size,
            max_batch_tokens=max_batch_tokens,
            num_blocks=num_blocks,
            max_stall_ms=max_stall_ms,
        )
        self._driver = Driver(self._stepper, None if max_queue is None else max_batch_size + max_queue)
        weakref.finalize(self, self._driver.abandon).atexit = False  # the driver has its own end at exit

    def request(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        *,
        channel: Channel | None = None,
        **options: Unpack[RequestOptions],
    ) -> Request:
        """Make a request, for `submit` or `outputs`. It is not queued yet.

        Args:
            prompt: Token ids.
            config: How to pick tokens and when to stop.
            channel: Where the pieces go. None means to the thread that iterates `outputs`.
            **options: See `RequestOptions`.

        Raises:
            DeviceError: The engine is closed.
            RequestError: The prompt is empty, fills the whole context, or has ids outside the vocabulary; or the
                timeout is no positive number, logit_bias has such ids, or no token is left to generate.
        """
        self.check_open()
        resumed = options.get("resumed", ())
        self._check_tokens([*prompt, *resumed] if len(prompt) else (), limit=self.context_length - 1)
        if config.max_new_tokens is not None and len(resumed) >= config.max_new_tokens:
            raise RequestError(
                f"{len(resumed)} tokens were generated already; max_new_tokens is {config.max_new_tokens}"
            )
        self._check_bias(config)
        timeout = options.get("timeout")
        if timeout is not None and not timeout > 0:
            raise RequestError(f"timeout must be a positive number of seconds, not {timeout!r}")
        eos = frozenset() if config.ignore_eos else self._eos_token_ids
        return Request(
            prompt,
            config,
            channel or ThreadChannel(),
            eos_token_ids=eos | frozenset(config.stop_token_ids or ()),
            text_stream=TextStream(self._tokenizer, config.stop or ()) if self._tokenizer else None,
            speculation=Speculation(PromptLookup([*prompt, *resumed])) if self._speculate else None,
            **options,
        )

    def submit(self, request: Request) -> None:
        """Queue a request, so that the next steps compute it. If it is queued already or has ended, nothing changes.

        Raises:
            DeviceError: The engine is closed.
            DrainingError: `drain` was called.
            QueueFullError: `max_queue` requests wait already.
        """
        self._driver.submit(request)

    def outputs(self, request: Request) -> Generator[Piece]:
        """Submit a request, if it is not yet, and yield its pieces as they come: one for each token.

        Closing the generator early cancels the request. Only the last piece has a finish reason. A request that was
        cancelled before it was submitted has no pieces.

        Raises:
            DeviceError: The engine is closed, or the device failed.
            DrainingError, QueueFullError: As in `submit`.
        """
        assert isinstance(request.channel, ThreadChannel)
        try:
            self.submit(request)
            ended = False
            while not ended:
                self.check_open()  # a closed engine, or a forked process, has no more pieces
                pieces, ended = request.channel.get()
                for piece in pieces:
                    self.check_open()
                    yield piece
            if request.error is not None:
                raise request.error
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """End a request before the next step. If it has ended already, or in a forked process, nothing changes."""
        self._driver.cancel(request)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits of every position of a text, float32 [len(token_ids), vocab].

        It is a request like others: it may have to wait, and other requests run at the same time.

        Raises:
            DeviceError: The engine is closed, or the device failed.
            RequestError: The text is empty, longer than the context, or has ids outside the vocabulary.
            DrainingError, QueueFullError: As in `submit`.
        """
        self.check_open()
        self._check_tokens(token_ids, limit=self.context_length)
        result = np.empty((len(token_ids), self.vocab_size), np.float32)

        def copy(first: int, rows: Sequence[NDArray[np.float32]]) -> None:
            for position, row in enumerate(rows, first):
                result[position] = row

        self._run(self.score_request(token_ids, copy))
        return result

    def score(
        self, token_ids: Sequence[int], *, top: int = 0, first: int = 1, cache_key: str = ""
    ) -> list[TokenLogprob]:
        """Return the log-probability of each token of a text from the second on, given those before it.

        It is a request like others: it may have to wait, and other requests run at the same time.

        Args:
            token_ids: The text.
            top: How many of the most probable tokens to report for each position.
            first: The index of the first token to score, at least 1. Those before it need no logits.
            cache_key: Requests with an equal key can reuse what it leaves in the cache.

        Raises:
            DeviceError: The engine is closed, or the device failed.
            RequestError: The text is empty, more than one token longer than the context, or has ids outside the
                vocabulary.
            DrainingError, QueueFullError: As in `submit`.
        """
        scorer = Scorer(token_ids, top)
        self.check_score(token_ids)
        if len(token_ids) > first:
            self._run(self.score_request(token_ids[:-1], scorer.add, first=first - 1, cache_key=cache_key))
        return scorer.logprobs

    def embed(self, texts: Sequence[Sequence[int]], *, cache_key: str = "") -> list[NDArray[np.float32]]:
        """Return the embedding of each text: the normed hidden state of its last token, scaled to length 1.

        The texts are requests like others. They share batches, and each row is what the text gives alone.

        Args:
            texts: Token ids of each text.
            cache_key: Requests with an equal key can reuse what they leave in the cache.

        Returns:
            float32 [hidden] for each text.

        Raises:
            DeviceError: The engine is closed, the device failed, or it has no embeddings.
            RequestError: A text is empty, longer than the context, or has ids outside the vocabulary.
            DrainingError, QueueFullError: As in `submit`.
        """
        embedders = [Embedder() for _ in texts]
        requests = [
            self.embedding_request(token_ids, embedder.set, cache_key=cache_key)
            for token_ids, embedder in zip(texts, embedders, strict=True)
        ]
        try:
            for request in requests:
                self.submit(request)
            for request in requests:
                self._run(request)
        finally:
            for request in requests:
                self.cancel(request)
        return [embedder.vector for embedder in embedders]

    def embedding_request(
        self, token_ids: Sequence[int], on_hidden: OnHidden, *, cache_key: str = "", channel: Channel | None = None
    ) -> Request:
        """Make a request that computes the hidden state of the last token, for `submit`.

        Args:
            token_ids: The text.
            on_hidden: Takes the hidden state, in the engine's thread.
            cache_key: As in `request`.
            channel: Where the end is told, as in `request`.

        Raises:
            DeviceError, RequestError: As in `embed`.
        """
        self.check_open()
        self._check_tokens(token_ids, limit=self.context_length)
        channel = channel or ThreadChannel()
        return Request(token_ids, GenerationConfig(), channel, on_hidden=on_hidden, cache_key=cache_key)

    def check_score(self, token_ids: Sequence[int]) -> None:
        """Raise the errors of `score`, before it is submitted."""
        self.check_open()
        self._check_tokens(token_ids, limit=self.context_length + 1)

    def score_request(
        self,
        token_ids: Sequence[int],
        on_logits: OnLogits,
        *,
        first: int = 0,
        cache_key: str = "",
        channel: Channel | None = None,
    ) -> Request:
        """Make a request that computes the logits of every position, for `submit`. The ids must have been checked.

        Args:
            token_ids: The text; not empty.
            on_logits: Takes the logits, in the engine's thread: other requests wait meanwhile.
            first: The first position whose logits are computed.
            cache_key: As in `request`.
            channel: Where the end is told, as in `request`.
        """
        channel = channel or ThreadChannel()
        return Request(token_ids, GenerationConfig(), channel, on_logits=on_logits, scored=first, cache_key=cache_key)

    def stats(self) -> EngineStats:
        """Return how many blocks, requests and steps there are now.

        Raises:
            DeviceError: This process was forked after the engine was made.
        """
        if self._driver.forked:
            self.check_open()
        requests, started = self._driver.requests, self._stepper.step_started_at
        blocks, free_blocks, running, preemptions = self._stepper.counts
        return EngineStats(
            blocks=blocks,
            free_blocks=free_blocks,
            running=running,
            waiting=max(0, requests - running),
            steps=self._stepper.steps,
            step_seconds=time.perf_counter() - started if started else 0.0,
            preemptions=preemptions,
            draft_tokens=self._stepper.draft_tokens,
            accepted_tokens=self._stepper.accepted_tokens,
        )

    def drain(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DrainingError, and wait until all others have ended.

        Args:
            timeout: The maximum time to wait, in seconds; 0 does not wait. None means no limit.

        Returns:
            Whether all requests have ended.
        """
        return self._driver.drain(timeout)

    def close(self) -> None:
        """Close the engine and, after the current step, the backend. It does not wait for that: `join` does.

        Requests that have not ended get no more tokens: `outputs` raises DeviceError. A second call does nothing. In a
        forked process nothing changes: the device belongs to the process that opened it.
        """
        self._driver.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the engine is closed: its thread has ended and the device is free. Call `close` before.

        Args:
            timeout: The maximum time to wait, in seconds. None means no limit.

        Returns:
            Whether it is.

        Raises:
            DeviceError: The backend could not be closed.
        """
        return self._driver.join(timeout)

    def check_open(self) -> None:
        """Check that this process can use the engine.

        Raises:
            DeviceError: The engine is closed, or this process was forked after the engine was made.
        """
        self._driver.check_open()

    def _run(self, request: Request) -> None:
        for _ in self.outputs(request):
            pass

    def _check_bias(self, config: GenerationConfig) -> None:
        highest = max(dict(config.logit_bias or ()), default=0)
        if highest >= self.vocab_size:
            raise RequestError(
                f"logit_bias has token id {highest}, outside the vocabulary (0 to {self.vocab_size - 1})"
            )

    def _check_tokens(self, token_ids: Sequence[int], limit: int) -> None:
        if len(token_ids) == 0:
            raise RequestError("the prompt is empty; give it at least one token")
        if len(token_ids) > limit:
            raise RequestError(
                f"the prompt has {len(token_ids)} tokens, but the context holds {self.context_length}, the answer "
                "included; shorten the prompt, or raise context_length as far as the model's limit allows"
            )
        low, high = min(token_ids), max(token_ids)
        if low < 0 or high >= self.vocab_size:
            raise RequestError(
                f"token id {low if low < 0 else high} is outside the vocabulary (0 to {self.vocab_size - 1}); "
                "was the text encoded with another model's tokenizer?"
            )
