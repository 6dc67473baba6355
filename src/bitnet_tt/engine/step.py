"""One step: a batch runs on the backend, and each request gets its next token."""

from __future__ import annotations

import time
from itertools import islice

from bitnet_tt.backends.base import Backend, Candidates, LogitFilter
from bitnet_tt.engine.batch import Chunk, build_batch, build_next_batch
from bitnet_tt.engine.channel import Delivery
from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.engine.masks import MaskWorker
from bitnet_tt.engine.pace import Pace
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.scheduler import Scheduler
from bitnet_tt.engine.speculation import StepCosts
from bitnet_tt.engine.started_step import StartedStep, can_start
from bitnet_tt.errors import DeviceError
from bitnet_tt.generation import FinishReason, Piece
from bitnet_tt.sampling import TokenLogprob, log_probabilities

BLOCK_SIZE = 32
"""Positions of one block of the KV cache."""

MAX_FORCED = BLOCK_SIZE
"""At most this many forced tokens are appended at once: the next step computes them all, and other streams wait."""


class Stepper:
    """Computes all requests, step by step. It is the engine without its thread.

    Not thread-safe: one thread makes all calls. `counts` may be read by any thread.

    Args:
        backend: The model on its device.
        context_length: Maximum number of tokens of one text, prompt included.
        max_batch_size: Maximum number of requests in a batch; further ones wait.
        max_batch_tokens: Maximum number of tokens of one step; a longer prompt takes several steps.
        num_blocks: Blocks of the KV cache, `BLOCK_SIZE` positions each. By default enough for `max_batch_size` texts of
            `context_length` tokens, or fewer if the device has less memory: requests then wait for blocks.
        max_stall_ms: While streams run, prompts are cut so that a step takes about this many milliseconds at most.
            None does not cut them.

    Attributes:
        backend, context_length: The arguments of the constructor.
        steps: How many steps there were.
        draft_tokens, accepted_tokens: How many tokens were drafted, and how many of them were right.
        has_ends: Whether a request has ended since `take_news`.
        step_started_at: When the current step began, in seconds of `time.perf_counter`; 0 between two steps.

    Raises:
        DeviceError: The device has no memory for the cache of one text, or for `num_blocks` blocks.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        context_length: int,
        max_batch_size: int = 8,
        max_batch_tokens: int = 512,
        num_blocks: int | None = None,
        max_stall_ms: float | None = None,
    ) -> None:
        self.backend = backend
        self.context_length = context_length
        self.steps = 0
        self.draft_tokens = 0
        self.accepted_tokens = 0
        self.step_started_at = 0.0
        min_blocks = -(-context_length // BLOCK_SIZE)
        if num_blocks is None:
            blocks = _allocate(backend, max_blocks=min_blocks * max(max_batch_size, 1), min_blocks=min_blocks)
        else:
            blocks = max(num_blocks, min_blocks)
            backend.allocate(blocks, BLOCK_SIZE)
        self._pace = Pace(None if max_stall_ms is None else max_stall_ms / 1000)
        self._costs = StepCosts()
        self._pool = BlockPool(blocks, BLOCK_SIZE)
        self._scheduler = Scheduler(self._pool, max_batch_size, max_batch_tokens, self._pace)
        self._masks = MaskWorker()
        self._started: StartedStep | None = None
        self._news: dict[Request, list[Piece]] = {}
        self.has_ends = False

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Number of blocks, of blocks that no request holds, of running requests, and of preemptions so far."""
        return (
            self._pool.num_blocks,
            self._pool.available,
            len(self._scheduler.running),
            self._scheduler.preemptions,
        )

    @property
    def requests(self) -> list[Request]:
        """The requests that have not ended, the running ones first."""
        return [*self._scheduler.running, *self._scheduler.waiting]

    @property
    def busy(self) -> bool:
        """Whether there is a request that has not ended, or a step to read."""
        return bool(self._scheduler.running or self._scheduler.waiting or self._started)

    def add(self, request: Request) -> None:
        """Queue a request, so that the next steps compute it."""
        self._scheduler.waiting.append(request)

    def end(self, request: Request, reason: FinishReason) -> None:
        """End a request before its last token. If it has ended already, nothing changes."""
        if not request.ended:
            self._finish(request, reason)
            text = request.text_stream.end() if request.text_stream else ""
            self._tell(request, Piece(text, finish_reason=reason, timings=request.timings()))

    def fail(self, request: Request, error: BaseException) -> None:
        """End a request by an error. If it has ended already, nothing changes."""
        if not request.ended:
            request.error = error
            self._finish(request, None)

    def expire(self) -> None:
        """End the requests whose time is over."""
        for request in self.requests:
            if request.timeout is not None and time.perf_counter() >= request.deadline:
                self.end(request, "timeout")

    def take_news(self) -> list[tuple[Request, Delivery]]:
        """Return what the readers of requests do not know yet."""
        if not self._news:
            return []
        news = [(request, Delivery(pieces, request.ended)) for request, pieces in self._news.items()]
        self._news = {}
        self.has_ends = False
        return news

    def step(self) -> bool:
        """Compute one batch, and sample a token for each request that has no more pending tokens.

        If the backend can, and the next step needs no more of this one than the most probable tokens, the next step is
        started before this one is read. A request that ends by this one leaves an unwanted row in the next.

        If the backend fails, all running requests end by its error, or all requests if none runs. If one request fails,
        such as by a row of logits that cannot be sampled, only that request ends by the error.

        Returns:
            Whether there was anything to compute.
        """
        started = self.step_started_at = time.perf_counter()
        try:
            if self._started is not None:
                self._read(self._started)
                return True
            self._plan_drafts()
            step = self._scheduler.next_step()
            if step:
                self._compute(step, started)
            return bool(step)
        except Exception as error:
            self._started = None
            for request in list(self._scheduler.running) or self.requests:
                self.fail(request, error)
            return True
        finally:
            self.step_started_at = 0.0

    def _compute(self, step: list[Chunk], started: float) -> None:
        """Compute a step: one batch of texts that need logits, and one of those that are embedded."""
        embeddings = [chunk for chunk in step if chunk.request.is_embedding]
        texts = [chunk for chunk in step if not chunk.request.is_embedding]
        filters = self._filters(texts)
        step = [*texts, *embeddings]
        if not step:
            return
        decoding = sum(chunk.request.decoding for chunk in step)
        if embeddings:  # before the others, whose rows are valid until the next call
            self._embed(embeddings)
        rows: list[list[Candidates]] = [[] for _ in step]
        if texts:
            batch = build_batch(texts)
            result = self.backend.start(batch) if can_start(step, filters) else None
            if result is not None:
                self.steps += 1
                self._read(StartedStep(step, decoding, result, started))
                return
            self._masks.start([chunk.request.mask for chunk in texts if chunk.rows and chunk.request.mask is not None])
            found = iter(self.backend.candidates(batch, filters))
            rows[: len(texts)] = [list(islice(found, chunk.rows)) for chunk in texts]
        self.steps += 1
        self._consume(step, decoding, rows, started)

    def _embed(self, chunks: list[Chunk]) -> None:
        """Compute the next tokens of texts that are embedded. Those that are complete get their hidden state."""
        states = self.backend.hidden(build_batch(chunks))
        complete = [chunk.request for chunk in chunks if chunk.is_last]
        for request, state in zip(complete, states, strict=True):
            assert request.on_hidden is not None
            request.on_hidden(state)

    def _read(self, current: StartedStep) -> None:
        """Read a step that was started. Before that, start the next one if it is the same batch."""
        self._started = None
        last = any(self._is_full(chunk.request, len(chunk.request.tokens) + 1) for chunk in current.step)
        if not last and self._scheduler.follow(current.step):
            result = self.backend.start(build_next_batch(current.step))
            if result is not None:
                self.steps += 1
                self._started = StartedStep(current.step, len(current.step), result, 0.0)
        rows = [[row] for row in current.result()]
        if self._started is not None:
            self._started.started_at = time.perf_counter()
        for chunk in current.step:
            chunk.request.next_filters(())  # for the text as it is now
        self._consume(current.step, current.decoding, rows, current.started_at)

    def _consume(self, step: list[Chunk], decoding: int, rows: list[list[Candidates]], started: float) -> None:
        """Give each request the rows that a step computed for it, and learn from its time."""
        decodes_only = decoding == len(step)
        for chunk, own in zip(step, rows, strict=True):
            if not chunk.request.ended:  # otherwise it ended after the step was started
                self._give(chunk, own, started)
        seconds = time.perf_counter() - started
        self._pace.record(step, decoding, seconds)
        if decodes_only and all(chunk.size == 1 for chunk in step):
            self._costs.record(sum(chunk.length for chunk in step), seconds)

    def _filters(self, step: list[Chunk]) -> list[LogitFilter]:
        """Return the filter of each row of a step. A request whose filter cannot be made ends, and leaves the step."""
        filters: list[LogitFilter] = []
        for chunk in list(step):
            try:
                filters += _row_filters(chunk)
            except Exception as error:
                self.fail(chunk.request, error)
                step.remove(chunk)
        return filters

    def _give(self, chunk: Chunk, rows: list[Candidates], started: float) -> None:
        """Give a request what the step computed for it."""
        request, computed = chunk.request, chunk.request.computed + chunk.size
        self._pool.remember(request.tokens, request.block_table, request.computed, computed, request.cache_key)
        request.computed = computed
        request.started_at = request.started_at or started
        try:
            if request.is_score:
                self._score(request, rows)
            elif request.is_embedding:
                if not request.pending:
                    self._finish(request, "length")
            else:
                self._append_tokens(chunk, rows)
        except Exception as error:
            self.fail(request, error)

    def _score(self, request: Request, rows: list[Candidates]) -> None:
        assert request.on_logits is not None
        request.on_logits(request.scored, [row.logits for row in rows])
        request.scored += len(rows)
        if not request.pending:
            self._finish(request, "length")

    def _append_tokens(self, chunk: Chunk, rows: list[Candidates]) -> None:
        """Append the next tokens of a request: one, one more after each right token of the draft, and forced ones."""
        if not rows:
            return
        request, accepted, length = chunk.request, 0, len(chunk.request.tokens)
        for index, row in enumerate(rows):
            self._append_token(request, *_pick(request, row, index))
            if request.ended or index == len(chunk.draft) or request.tokens[-1] != chunk.draft[index]:
                break
            accepted += 1
        if chunk.draft and request.speculation is not None:
            self.draft_tokens += len(chunk.draft)
            self.accepted_tokens += accepted
            request.speculation.record(len(chunk.draft), accepted)
        if accepted and not request.ended:  # the keys and values of the accepted tokens are in the cache
            computed = request.computed + accepted
            self._pool.remember(request.tokens, request.block_table, request.computed, computed, request.cache_key)
            request.computed = computed
        for _ in range(MAX_FORCED):
            token_id = None if request.ended else request.pick_forced()
            if token_id is None:
                break
            self._append_token(request, token_id)
        request.appended = len(request.tokens) - length

    def _plan_drafts(self) -> None:
        """Draft the next tokens of the requests that only decode, if they ask for it."""
        decoding = [request for request in self._scheduler.running if request.decoding]
        for request in decoding:
            request.draft = []
            if request.speculation is not None and request.constraint is None:
                limit = self.context_length - len(request.tokens)
                if request.config.max_new_tokens is not None:
                    limit = min(limit, request.config.max_new_tokens - request.generated - 1)
                request.draft = request.speculation.draft(len(decoding), self._costs, limit)

    def _append_token(self, request: Request, token_id: int, logprob: TokenLogprob | None = None) -> None:
        """Append the next token of a request, and finish the request if the token ends it."""
        request.tokens.append(token_id)
        if request.speculation is not None:
            request.speculation.lookup.extend([token_id])
        if not request.first_token_at:
            request.first_token_at = time.perf_counter()
        reason: FinishReason | None = None
        if token_id in request.eos_token_ids:
            reason = "stop"
        elif self._is_full(request, len(request.tokens)):
            reason = "length"
        text = ""
        if request.text_stream is not None:
            if reason != "stop":
                text = request.text_stream.push(token_id)
            if reason is not None:
                text += request.text_stream.end()
            if request.text_stream.stopped:
                reason = "stop"
        if reason is not None:
            self._finish(request, reason)
        timings = request.timings() if reason is not None else None
        self._tell(request, Piece(text, (token_id,), reason, () if logprob is None else (logprob,), timings))

    def _is_full(self, request: Request, length: int) -> bool:
        """Return whether a request ends when its text, prompt included, has so many tokens."""
        return length - len(request.prompt) == request.config.max_new_tokens or length >= self.context_length

    def _finish(self, request: Request, reason: FinishReason | None) -> None:
        request.finish_reason = reason
        request.finished_at = time.perf_counter()
        self._scheduler.finish(request)
        self._news.setdefault(request, [])
        self.has_ends = True

    def _tell(self, request: Request, piece: Piece) -> None:
        self._news.setdefault(request, []).append(piece)


def _row_filters(chunk: Chunk) -> list[LogitFilter]:
    """Return the filter of each row of a chunk."""
    if chunk.request.is_score or not chunk.rows:
        return [LogitFilter()] * chunk.rows
    return chunk.request.next_filters(chunk.draft)


def _pick(request: Request, row: Candidates, index: int) -> tuple[int, TokenLogprob | None]:
    """Pick the next token of a request; return it, and its log-probability if the request asks for it."""
    config = request.config
    token_id = request.pick(row, index)
    logprob = log_probabilities(row.logits, token_id, config.logprobs) if config.logprobs is not None else None
    return token_id, logprob


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
