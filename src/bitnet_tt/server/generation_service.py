"""GenerationService: the one place where the server touches the engine.

The rest of the server is asyncio code in one thread. A text that is generated occupies a worker thread, because that
is how the engine is driven. At most as many texts run as the engine takes into a batch; the others wait here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Request
from bitnet_tt.errors import RequestError
from bitnet_tt.generation import Piece, pieces
from bitnet_tt.model import BitNetModel
from bitnet_tt.sampling import TokenLogprob, log_probabilities

_BUSY_SECONDS = 0.05


class QueueFullError(Exception):
    """There is no room for the texts of a request; the client should try again later."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the service does at one moment.

    Attributes:
        running: Texts that are computed.
        waiting: Texts that wait for a place in the batch.
        blocks: Blocks of the KV cache.
        used_blocks: Blocks that running texts hold.
    """

    running: int
    waiting: int
    blocks: int
    used_blocks: int


class GenerationService:
    """Generates and scores texts for asyncio code.

    Threads: everything is called in the thread of the event loop, except `load`.

    Args:
        model: The model. The caller closes it, after `close`.
        max_running: How many texts the engine computes together.
        max_waiting: How many more texts may wait.
    """

    def __init__(self, model: BitNetModel, *, max_running: int, max_waiting: int) -> None:
        self._model = model
        self._eos_token_ids = frozenset(model.config.eos_token_ids) | frozenset(model.tokenizer.eos_token_ids)
        self._workers = ThreadPoolExecutor(max_running, "generation")
        self._cancellers = ThreadPoolExecutor(1, "cancel")
        self._requests: set[Request] = set()
        self._admitted = 0
        self._last_progress = time.monotonic()
        self.max_running = max_running
        self.max_waiting = max_waiting

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
        if not self._admitted:
            self._last_progress = time.monotonic()
        self._admitted += count

    def release(self) -> None:
        """Give the room of one text back."""
        self._admitted -= 1

    async def stream(
        self, prompt_ids: Sequence[int], config: GenerationConfig, *, cache_key: str = ""
    ) -> AsyncGenerator[Piece]:
        """Continue a prompt and yield the text as it is generated. Closing the generator cancels it, in any phase.

        Args:
            prompt_ids: Token ids.
            config: How to pick tokens and when to stop.
            cache_key: Prefixes in the KV cache are shared only among requests with equal keys.

        Raises:
            RequestError: The prompt is empty, too long, or has ids outside the vocabulary.
            DeviceError: The model is closed.
        """
        request = self._model.engine.request(prompt_ids, config, self._eos_token_ids)
        loop = asyncio.get_running_loop()
        results: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
        # A closed loop takes no results any more: the server has ended, and nobody waits.
        work = self._workers.submit(
            self._run, request, lambda result: loop.is_closed() or loop.call_soon_threadsafe(results.put_nowait, result)
        )
        self._requests.add(request)
        try:
            while (result := await results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                self._last_progress = time.monotonic()
                yield result
        finally:
            self._requests.discard(request)
            if not work.done() and not work.cancel():
                self._cancellers.submit(self._model.engine.cancel, request)  # it waits for the end of a step

    async def score(self, token_ids: Sequence[int], top: int, *, cache_key: str = "") -> list[TokenLogprob | None]:
        """Return the log-probability of each token of a text; that of the first is None.

        Args:
            token_ids: The text.
            top: How many of the most probable tokens to report at each position.
            cache_key: As in `stream`.

        Raises:
            RequestError: The text is empty, longer than the context, or has ids outside the vocabulary.
            DeviceError: The model is closed.
        """
        self._model.engine.request(token_ids, GenerationConfig())  # checks the ids
        abandoned = False

        def run() -> list[TokenLogprob | None]:
            while True:
                scores: list[TokenLogprob | None] = [None]
                try:
                    for start, rows in self._model.engine.score(token_ids):
                        for row, token_id in zip(rows, token_ids[start + 1 :], strict=False):
                            scores.append(log_probabilities(row, token_id, top))
                        if abandoned:
                            break
                    return scores
                except RequestError:  # running requests hold the blocks that it needs
                    if abandoned:
                        return scores
                    time.sleep(_BUSY_SECONDS)

        try:
            return await asyncio.wrap_future(self._workers.submit(run))
        finally:
            abandoned = True

    def load(self) -> Load:
        """Return what the service does now. It may wait for the end of a step, so the event loop must not call it."""
        stats = self._model.engine.stats()
        return Load(self.running, self.waiting, stats.blocks, stats.blocks - stats.free_blocks)

    def seconds_without_progress(self) -> float:
        """Return for how long no token came although texts run; 0 if none run."""
        return time.monotonic() - self._last_progress if self._admitted else 0.0

    def cancel_all(self) -> None:
        """End every text early; their streams end without a finish reason."""
        for request in list(self._requests):
            self._cancellers.submit(self._model.engine.cancel, request)

    def close(self) -> None:
        """End every text early, and wait until no thread uses the model."""
        self.cancel_all()
        self._workers.shutdown(cancel_futures=True)
        self._cancellers.shutdown()

    def _run(self, request: Request, put: Callable[[Piece | BaseException | None], object]) -> None:
        """Drive one request in a worker thread; end with None or the error."""
        try:
            for piece in pieces(self._model.engine, request, self._model.tokenizer):
                put(piece)
        except BaseException as error:
            put(error)
        else:
            put(None)
