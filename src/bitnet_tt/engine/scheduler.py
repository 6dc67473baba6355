"""Which tokens of which requests the next step computes: continuous batching with chunked prefill."""

from __future__ import annotations

from collections import deque

from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.engine.request import Request


class Scheduler:
    """Keeps waiting and running requests, and shares a step's tokens and the cache's blocks among them.

    When blocks run out, the newest request gives its own back and waits to be computed anew, which changes no result.
    """

    def __init__(self, pool: BlockPool, max_batch_size: int, max_batch_tokens: int) -> None:
        self.pool = pool
        self.max_batch_size = max_batch_size
        self.max_batch_tokens = max_batch_tokens
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    @property
    def has_work(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self.waiting or self.running)

    def next_step(self) -> list[tuple[Request, int]]:
        """Requests to compute now, each with how many of its pending tokens; their blocks are held."""
        step: list[tuple[Request, int]] = []
        budget = self.max_batch_tokens
        # Requests that only want one token go first, so that a long prompt never stalls the others.
        for request in sorted(self.running, key=lambda request: request.pending > 1):
            if budget and request in self.running:
                budget -= self._plan(request, budget, step)
        while self.waiting and budget and len(self.running) < self.max_batch_size:
            request = self.waiting[0]
            self._reuse_prefix(request)
            if self.pool.available < self._missing_blocks(request, min(request.pending, budget)):
                self._drop_blocks(request)
                break
            self.running.append(self.waiting.popleft())
            budget -= self._plan(request, budget, step)
        return step

    def finish(self, request: Request) -> None:
        """Forget a request and give its blocks back."""
        if request in self.running:
            self.running.remove(request)
        elif request in self.waiting:
            self.waiting.remove(request)
        self._release(request)

    def _plan(self, request: Request, budget: int, step: list[tuple[Request, int]]) -> int:
        """Add a running request to the step, taking blocks from the newest requests if need be; return its tokens."""
        count = min(request.pending, budget)
        while self._missing_blocks(request, count) > self.pool.available:
            newest = self.running[-1]
            self._preempt(newest, step)
            if newest is request:
                return 0
        for _ in range(self._missing_blocks(request, count)):
            block = self.pool.take()
            assert block is not None
            request.block_table.append(block)
        step.append((request, count))
        return count

    def _missing_blocks(self, request: Request, count: int) -> int:
        return max(0, self.pool.blocks_for(request.computed + count) - len(request.block_table))

    def _preempt(self, request: Request, step: list[tuple[Request, int]]) -> None:
        self.running.remove(request)
        self.waiting.appendleft(request)
        self._drop_blocks(request)
        step[:] = [entry for entry in step if entry[0] is not request]

    def _reuse_prefix(self, request: Request) -> None:
        """Start from the cached blocks of an equal beginning; at least one token is left to compute."""
        request.block_table = self.pool.share_prefix(request.tokens[:-1])
        request.computed = len(request.block_table) * self.pool.block_size
        if not request.generated:
            request.reused = request.computed

    def _drop_blocks(self, request: Request) -> None:
        self._release(request)
        request.computed = 0

    def _release(self, request: Request) -> None:
        self.pool.release(request.block_table)
        request.block_table = []
