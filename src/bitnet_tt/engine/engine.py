"""The engine: requests in, tokens out, one batch a step through the backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend, Batch, Candidates
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.kv_cache import BlockPool
from bitnet_tt.engine.request import FinishReason, Request, TokenOutput
from bitnet_tt.engine.scheduler import Scheduler
from bitnet_tt.errors import DeviceError, RequestError
from bitnet_tt.sampling import log_probabilities, logit_filter, sample

BLOCK_SIZE = 32


class Engine:
    """Continues many prompts at once. Safe to use from several threads: whoever wants a token drives the next step.

    Args:
        backend: The model on its device.
        vocab_size: Ids the model knows.
        context_length: Most tokens of one text, prompt included.
        max_batch_size: Most requests computed at once; more wait.
        max_batch_tokens: Most tokens of one step; longer prompts are computed in several.
        num_blocks: Blocks of the KV cache, `BLOCK_SIZE` positions each; by default as many as all requests of a batch
            can need, or fewer if the device has less memory: they then wait for each other.

    Raises:
        DeviceError: A cache of one text, or of the blocks asked for, does not fit the device.
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
        blocks_per_request = -(-context_length // BLOCK_SIZE)
        most = blocks_per_request * max_batch_size if num_blocks is None else num_blocks
        least = blocks_per_request if num_blocks is None else most
        self._pool = BlockPool(_allocate(backend, max(most, blocks_per_request), least), BLOCK_SIZE)
        self._scheduler = Scheduler(self._pool, max_batch_size, max_batch_tokens)
        self._lock = threading.RLock()

    def request(self, prompt: Sequence[int], config: GenerationConfig, eos_token_ids: Iterable[int] = ()) -> Request:
        """Make a request of a prompt, for `submit` or `outputs`.

        Raises:
            RequestError: The prompt is empty, leaves no room in the context, or has ids outside the vocabulary.
        """
        self._check(prompt, room=1)
        eos = () if config.ignore_eos else eos_token_ids
        return Request(prompt, config, frozenset(eos) | frozenset(config.stop_token_ids))

    def submit(self, request: Request) -> None:
        """Queue a request, so that it is computed along with whichever is being driven; once is enough."""
        with self._lock:
            if not request.submitted_at:
                request.submitted_at = time.perf_counter()
                self._scheduler.waiting.append(request)

    def outputs(self, request: Request) -> Generator[TokenOutput]:
        """A request's tokens as they come. Closing the generator early cancels the request."""
        self.submit(request)
        try:
            while True:
                while request.outputs:
                    yield request.outputs.popleft()
                if request.finish_reason is not None:
                    return
                with self._lock:
                    if not request.outputs and request.finish_reason is None:
                        self.step()
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """End a request early; one that has ended already is left as it is."""
        with self._lock:
            if request.finish_reason is None:
                self._finish(request, "cancelled")

    def step(self) -> None:
        """Compute one batch and sample a token for each request whose turn it is."""
        with self._lock:
            step = self._scheduler.next_step()
            if not step:
                return
            sampled = [(request, count) for request, count in step if count == request.pending]
            rows = self.backend.candidates(_batch(step), [logit_filter(request.config) for request, _ in sampled])
            for request, count in step:
                self._pool.remember(request.tokens, request.block_table, request.computed, request.computed + count)
                request.computed += count
            for (request, _), row in zip(sampled, rows, strict=True):
                self._append_token(request, row)

    def score(self, token_ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Logits of every position of a text, chunk by chunk.

        Yields:
            The position of the chunk's first token, and logits float32 [tokens, vocab], valid until the next chunk.

        Raises:
            RequestError: As for `submit`; or running requests hold the blocks it needs.
        """
        self._check(token_ids, room=0)
        request = Request(token_ids, GenerationConfig())
        with self._lock:
            table = [self._pool.take() for _ in range(self._pool.blocks_for(len(token_ids)))]
            request.block_table = [block for block in table if block is not None]
            try:
                if len(request.block_table) < len(table):
                    raise RequestError("the KV cache is in use by other requests; score the text when they are done")
                while request.pending:
                    count = min(request.pending, self._scheduler.max_batch_tokens)
                    yield request.computed, self.backend.forward(_batch([(request, count)], every_row=True))
                    request.computed += count
            finally:
                self._pool.release(request.block_table)

    def _append_token(self, request: Request, row: Candidates) -> None:
        config = request.config
        token_id = sample(row, config, request.tokens, request.stream)
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

    def _check(self, token_ids: Sequence[int], room: int) -> None:
        if len(token_ids) == 0:
            raise RequestError("the prompt is empty; give it at least one token")
        if len(token_ids) + room > self.context_length:
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


def _allocate(backend: Backend, most: int, least: int) -> int:
    """Allocate a cache of at most `most` blocks, by halves down to `least` until it fits; return how many there are."""
    blocks = most
    while True:
        try:
            backend.allocate(blocks, BLOCK_SIZE)
            return blocks
        except DeviceError:
            if blocks <= least:
                raise
            blocks = max(blocks // 2, least)


def _batch(step: Sequence[tuple[Request, int]], every_row: bool = False) -> Batch:
    """Lay a step out; logits are wanted of each request's last pending token, or of every row."""
    counts = [count for _, count in step]
    ends = np.cumsum(counts)
    tables = np.full((len(step), max(len(request.block_table) for request, _ in step)), -1, dtype=np.int32)
    for row, (request, _) in enumerate(step):
        tables[row, : len(request.block_table)] = request.block_table
    rows = [end - 1 for end, (request, count) in zip(ends, step, strict=True) if count == request.pending]
    return Batch(
        token_ids=np.concatenate(
            [
                np.asarray(request.tokens[request.computed : request.computed + count], np.int32)
                for request, count in step
            ]
        ),
        starts=np.concatenate([[0], ends]).astype(np.int32),
        positions=np.asarray([request.computed for request, _ in step], np.int32),
        block_tables=tables,
        logit_rows=np.arange(ends[-1], dtype=np.int32) if every_row else np.asarray(rows, np.int32),
    )
