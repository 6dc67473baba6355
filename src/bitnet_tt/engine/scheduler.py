"""Choose the tokens and requests that the next step computes: continuous batching with chunked prefill."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from bitnet_tt.engine.batch import Chunk
from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.engine.pace import Pace
from bitnet_tt.engine.request import Request


class Scheduler:
    """Keeps the waiting and running requests, and divides the tokens of a step and the blocks of the cache among them.

    If blocks run out, the newest running request gives its blocks back and waits. Its tokens are computed again later,
    which changes no result.

    Not thread-safe: only the thread that steps calls it.

    Args:
        pool: The blocks of the cache.
        max_batch_size: Maximum number of running requests.
        max_batch_tokens: Maximum number of tokens of a step.
        pace: Limits the prompt tokens of a step while streams run.

    Attributes:
        preemptions: How often a running request gave its blocks back.
    """

    def __init__(self, pool: BlockPool, max_batch_size: int, max_batch_tokens: int, pace: Pace) -> None:
        self.pool = pool
        self.max_batch_size = max_batch_size
        self.max_batch_tokens = max_batch_tokens
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.preemptions = 0
        self._pace = pace

    def next_step(self) -> list[Chunk]:
        """Return the chunks to compute now, and give their requests the blocks that this takes.

        The chunks of running streams come first, so that a long prompt never stalls them.
        """
        step: list[Chunk] = []
        budget = self.max_batch_tokens
        for request in [one for one in self.running if one.decoding]:
            if budget and request in self.running:  # an earlier request of this step may have preempted it
                count = min(request.pending, budget)
                draft = request.draft[: budget - count]
                if self._missing_blocks(request, count + len(draft)) > self.pool.available:
                    draft = []
                budget -= self._add_chunk(request, count, step, draft)
        self._pace.begin(streams=bool(step))
        for request in self._prompts():
            limit = min(budget, self._pace.limit(is_score=request.is_score))
            if not limit or not self._admit(request, limit):
                break
            count = self._add_chunk(request, min(request.pending, limit), step)
            self._pace.spend(count, is_score=request.is_score)
            budget -= count
        return step

    def follow(self, step: Sequence[Chunk]) -> bool:
        """Give the requests of a running step, of one token each, the blocks for one more token.

        Returns:
            Whether the next step is surely the same batch. Otherwise nothing has changed: a request has ended, or
            others may join, or there are not enough blocks.
        """
        if len(step) != len(self.running) or (self.waiting and len(self.running) < self.max_batch_size):
            return False
        missing = [self._missing_blocks(chunk.request, 2) for chunk in step]
        if sum(missing) > self.pool.available:
            return False
        for chunk, count in zip(step, missing, strict=True):
            chunk.request.block_table += [self.pool.take() for _ in range(count)]
        return True

    def finish(self, request: Request) -> None:
        """Forget a request and give its blocks back."""
        if request in self.running:
            self.running.remove(request)
        elif request in self.waiting:
            self.waiting.remove(request)
        self._release(request)

    def _prompts(self) -> Iterator[Request]:
        """Yield the requests with a prompt to compute: the running ones, then those that wait for a place."""
        for request in [one for one in self.running if not one.decoding]:
            if request in self.running:
                yield request
        while self.waiting and len(self.running) < self.max_batch_size:
            yield self.waiting[0]

    def _admit(self, request: Request, limit: int) -> bool:
        """Move a request that waits to the running ones; return False if there are not enough blocks for it."""
        if self.waiting and request is self.waiting[0]:
            self._reuse_prefix(request)
            if self.pool.available < self._missing_blocks(request, min(request.pending, limit)):
                self._drop_blocks(request)
                return False
            self.running.append(self.waiting.popleft())
        return True

    def _add_chunk(self, request: Request, count: int, step: list[Chunk], draft: Sequence[int] = ()) -> int:
        """Add `count` tokens of a running request and a draft to the step, and return how many tokens it adds.

        If blocks run out, the newest running request loses its blocks. If that is the request itself, nothing is added.
        """
        length = count + len(draft)
        while self._missing_blocks(request, length) > self.pool.available:
            newest = self.running[-1]
            self._preempt(newest, step)
            if newest is request:
                return 0
        request.block_table += [self.pool.take() for _ in range(self._missing_blocks(request, length))]
        step.append(Chunk(request, count, draft))
        return length

    def _missing_blocks(self, request: Request, count: int) -> int:
        """Return how many more blocks a request needs to compute `count` more tokens."""
        return max(0, self.pool.blocks_for(request.computed + count) - len(request.block_table))

    def _preempt(self, request: Request, step: list[Chunk]) -> None:
        self.running.remove(request)
        self.waiting.appendleft(request)
        self._drop_blocks(request)
        self.preemptions += 1
        step[:] = [chunk for chunk in step if chunk.request is not request]

    def _reuse_prefix(self, request: Request) -> None:
        """Start from the cached blocks of an equal beginning.

        At least one token is left to compute, for its logits. A score needs the logits of every token that it has not
        scored yet.
        """
        reusable = request.tokens[: request.scored] if request.is_score else request.tokens[:-1]
        request.block_table = self.pool.share_prefix(reusable, request.cache_key)
        request.computed = len(request.block_table) * self.pool.block_size
        if not request.started_at and not request.is_score:  # after a preemption, it would find its own blocks
            request.reused = request.computed

    def _drop_blocks(self, request: Request) -> None:
        self._release(request)
        request.computed = 0

    def _release(self, request: Request) -> None:
        self.pool.release(request.block_table)
        request.block_table = []
