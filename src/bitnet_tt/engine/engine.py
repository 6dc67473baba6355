"""The engine: requests go in, tokens come out, and each step runs one batch on the backend."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import FORKED, Backend, Candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.batch import Chunk, build_batch, candidates_of
from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.engine.request import FinishReason, Request, TokenOutput
from bitnet_tt.engine.scheduler import Scheduler
from bitnet_tt.errors import DeviceError, RequestError
from bitnet_tt.sampling import Constraint, log_probabilities

BLOCK_SIZE = 32
"""Positions of one block of the KV cache."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """The load of an engine at one moment.

    Attributes:
        blocks: Blocks of the KV cache, `BLOCK_SIZE` positions each.
        free_blocks: Blocks that no request holds. They may still have contents that a later prompt can reuse.
        running: Requests that are in the batch.
        waiting: Requests that wait for a place in the batch.
    """

    blocks: int
    free_blocks: int
    running: int
    waiting: int


class Engine:
    """Continues many prompts at once.

    Threads: any thread may call any method. One lock guards all state, and each step holds it. The lock is never held
    while `outputs` or `score` yields. The engine has no thread of its own: a thread that wants a token of its request
    computes the next step, for all requests. In a process that was forked after the engine was made, every method
    raises DeviceError at once, except `cancel` and `close`.

    Args:
        backend: The model on its device. The engine owns it: `close` closes it.
        vocab_size: Token ids are below this.
        context_length: Maximum number of tokens of one text, prompt included.
        max_batch_size: Maximum number of requests in a batch; further ones wait.
        max_batch_tokens: Maximum number of tokens of one step; a longer prompt takes several steps.
        num_blocks: Blocks of the KV cache, `BLOCK_SIZE` positions each. By default enough for `max_batch_size` texts of
            `context_length` tokens, or fewer if the device has less memory: requests then wait for blocks.

    Raises:
        DeviceError: The device has no memory for the cache of one text, or for `num_blocks` blocks.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        vocab_size: int,
        context_length: int,
        max_batch_size: int = 8,
        max_batch_tokens: int = 512,
        num_blocks: int | None = None,
    ) -> None:
        self.backend = backend
        self.vocab_size = vocab_size
        self.context_length = context_length
        min_blocks = -(-context_length // BLOCK_SIZE)
        if num_blocks is None:
            blocks = _allocate(backend, max_blocks=min_blocks * max(max_batch_size, 1), min_blocks=min_blocks)
        else:
            blocks = max(num_blocks, min_blocks)
            backend.allocate(blocks, BLOCK_SIZE)
        self._pool = BlockPool(blocks, BLOCK_SIZE)
        self._scheduler = Scheduler(self._pool, max_batch_size, max_batch_tokens)
        self._closed = False
        self._process = os.getpid()
        # Reentrant. Threads wait on it for blocks that `score` holds.
        self._lock = threading.Condition()

    def request(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        eos_token_ids: Iterable[int] = (),
        *,
        choice: int = 0,
        constraint: Constraint | None = None,
    ) -> Request:
        """Make a request, for `submit` or `outputs`. It is not queued yet.

        Args:
            prompt: Token ids.
            config: How to pick tokens and when to stop.
            eos_token_ids: The model's own end-of-text ids; `config` may ignore them.
            choice: Which of several texts of the same prompt and seed this is; each has its own random numbers.
            constraint: Says which tokens may come next, such as a grammar. It must be new, at the end of the prompt.

        Raises:
            DeviceError: The engine is closed.
            RequestError: The prompt is empty, fills the whole context, or has ids outside the vocabulary; or the
                logit_bias has such ids.
        """
        self.check_open()
        self._check_tokens(prompt, new_tokens=1)
        self._check_bias(config)
        eos = () if config.ignore_eos else eos_token_ids
        return Request(prompt, config, frozenset(eos) | frozenset(config.stop_token_ids or ()), choice, constraint)

    def submit(self, request: Request) -> None:
        """Queue a request, so that every step also computes it. If it is queued already or has ended, nothing changes.

        Raises:
            DeviceError: The engine is closed.
        """
        with self._locked():
            self.check_open()
            if not request.submitted_at and request.finish_reason is None:
                request.submitted_at = time.perf_counter()
                self._scheduler.waiting.append(request)

    def outputs(self, request: Request) -> Generator[TokenOutput]:
        """Submit a request and yield its tokens as they are sampled. Closing the generator early cancels the request.

        Raises:
            DeviceError: The engine is closed before the request has ended.
        """
        self.submit(request)
        try:
            while True:
                # Read before the tokens: another thread's step may append the last token and end the request meanwhile.
                ended = request.finish_reason is not None
                while request.outputs:
                    yield request.outputs.popleft()
                if ended:
                    return
                with self._locked():
                    # Another thread's step may have sampled a token while this one waited for the lock.
                    if not request.outputs and request.finish_reason is None and not self.step():
                        self._lock.wait()  # `score` holds the blocks that every request waits for
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """End a request early. If it has ended already, or in a forked process, nothing changes."""
        if self._forked():
            return
        with self._locked():
            if request.finish_reason is None:
                self._finish(request, "cancelled")

    def step(self) -> bool:
        """Compute one batch, and sample a token for each request that has no more pending tokens.

        Returns:
            Whether there was anything to compute. If not, there is no request, or `score` holds too many blocks.

        Raises:
            DeviceError: The engine is closed.
        """
        with self._locked():
            self.check_open()
            step = self._scheduler.next_step()
            if not step:
                return False
            filters = [chunk.request.next_filter() for chunk in step if chunk.is_last]
            rows = iter(candidates_of(self.backend, build_batch(step), filters))
            for chunk in step:
                request, computed = chunk.request, chunk.request.computed + chunk.size
                self._pool.remember(request.tokens, request.block_table, request.computed, computed)
                if chunk.is_last:
                    self._append_token(request, next(rows))
                # Last, so that if a token cannot be sampled, the next step computes this chunk and the rest again.
                request.computed = computed
            return True

    def score(self, token_ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Compute the logits of every position of a text, chunk by chunk.

        Other threads may step the engine between two chunks. The iterator holds the blocks of its text until it ends or
        is closed, and a request that needs these blocks waits. So close the iterator before the same thread drives a
        request to its end.

        Yields:
            The position of the chunk's first token, and logits float32 [tokens, vocab]. The array is the caller's.

        Raises:
            DeviceError: The engine is closed.
            RequestError: The text is empty, longer than the context, or has ids outside the vocabulary; or running
                requests hold the blocks that it needs.
        """
        self._check_tokens(token_ids, new_tokens=0)
        request = Request(token_ids, GenerationConfig())
        try:
            while request.pending:
                with self._locked():
                    self.check_open()
                    if not request.block_table:
                        request.block_table = self._take_blocks(len(token_ids))
                    chunk = Chunk(request, min(request.pending, self._scheduler.max_batch_tokens))
                    # A copy: another thread's step may overwrite the backend's buffer while the caller reads the chunk.
                    logits = self.backend.forward(build_batch([chunk], every_row=True)).copy()
                yield request.computed, logits
                request.computed += chunk.size
        finally:
            if not self._forked():
                with self._locked():
                    self._pool.release(request.block_table)
                    self._lock.notify_all()

    def stats(self) -> EngineStats:
        """Return how many blocks and requests there are now."""
        with self._locked():
            return EngineStats(
                blocks=self._pool.num_blocks,
                free_blocks=self._pool.available,
                running=len(self._scheduler.running),
                waiting=len(self._scheduler.waiting),
            )

    def close(self) -> None:
        """Wait for the current step, then close the backend. A second call does nothing.

        Requests that have not ended get no more tokens: `outputs` raises DeviceError. In a forked process nothing
        changes: the device belongs to the process that opened it.
        """
        if self._forked():
            return
        with self._locked():
            if not self._closed:
                self._closed = True
                self.backend.close()
                self._lock.notify_all()

    def check_open(self) -> None:
        """Check that this process can use the engine.

        Raises:
            DeviceError: The engine is closed, or this process was forked after the engine was made.
        """
        if self._forked():
            raise DeviceError(FORKED)
        if self._closed:
            raise DeviceError("this model is closed; load it again")

    def _append_token(self, request: Request, row: Candidates) -> None:
        """Sample the next token of a request, and finish the request if the token ends it."""
        config = request.config
        token_id = request.pick(row)
        logprob = log_probabilities(row.logits, token_id, config.logprobs) if config.logprobs is not None else None
        request.tokens.append(token_id)
        if request.generated == 1:
            request.first_token_at = time.perf_counter()
        reason: FinishReason | None = None
        if token_id in request.eos_token_ids:
            reason = "stop"
        elif request.generated == config.max_new_tokens or len(request.tokens) >= self.context_length:
            reason = "length"
        request.outputs.append(TokenOutput(token_id, reason, logprob))
        if reason is not None:
            self._finish(request, reason)

    def _finish(self, request: Request, reason: FinishReason) -> None:
        request.finish_reason = reason
        request.finished_at = time.perf_counter()
        self._scheduler.finish(request)
        self._lock.notify_all()

    def _take_blocks(self, tokens: int) -> list[int]:
        """Take blocks for a text of this many tokens that `score` computes, outside the scheduler."""
        count = self._pool.blocks_for(tokens)
        if count > self._pool.available:
            raise RequestError("the KV cache is in use by other requests; score the text when they are done")
        return [self._pool.take() for _ in range(count)]

    def _forked(self) -> bool:
        return os.getpid() != self._process

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock. A forked process never waits for it: the thread that held it at the fork is not in there."""
        if self._forked():
            raise DeviceError(FORKED)
        with self._lock:
            yield

    def _check_bias(self, config: GenerationConfig) -> None:
        highest = max(dict(config.logit_bias or ()), default=0)
        if highest >= self.vocab_size:
            raise RequestError(
                f"logit_bias has token id {highest}, outside the vocabulary (0 to {self.vocab_size - 1})"
            )

    def _check_tokens(self, token_ids: Sequence[int], new_tokens: int) -> None:
        if len(token_ids) == 0:
            raise RequestError("the prompt is empty; give it at least one token")
        if len(token_ids) + new_tokens > self.context_length:
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


def _allocate(backend: Backend, max_blocks: int, min_blocks: int) -> int:
    """Allocate a cache of `max_blocks` blocks; halve that, down to `min_blocks`, until it fits. Return its blocks."""
    blocks = max_blocks
    while True:
        try:
            backend.allocate(blocks, BLOCK_SIZE)
            return blocks
        except DeviceError:
            if blocks <= min_blocks:
                raise
            blocks = max(blocks // 2, min_blocks)
