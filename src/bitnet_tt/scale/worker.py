"""The worker: computes texts for frontends with a model of this process, and leaves so that no text is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import cached_property, lru_cache
from typing import Any
from weakref import WeakSet

from dynamo.llm import ModelInput, ModelRuntimeConfig, ModelType, WorkerType, register_model
from dynamo.runtime import Context

from bitnet_tt.engine import AsyncEngine
from bitnet_tt.errors import BitNetError, ConfigError, DeviceError
from bitnet_tt.model import BitNetModel
from bitnet_tt.scale.answers import ALIVE_SECONDS, Answers
from bitnet_tt.scale.card import ModelCard, tokenizer_to_json
from bitnet_tt.scale.messages import (
    ALIVE,
    LEAVING,
    EmbeddingRequest,
    Frame,
    ScoreRequest,
    TextRequest,
    request_from_json,
)
from bitnet_tt.scale.runtime import BLOCK_TOKENS, Cluster
from bitnet_tt.scale.worker_status import StatusServer, status_app
from bitnet_tt.server.structured_output import Grammar, GrammarCompiler
from bitnet_tt.server.text_service import Load

_PART_CHARACTERS = 1 << 20
"""A tokenizer is sent in parts of this size."""

_KEPT_GRAMMARS = 64
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LEAVE_SECONDS = 5.0
"""After SIGTERM, frontends get this long to take over the texts."""


class Worker:
    """Answers the requests of frontends. All methods are called in one event loop.

    Args:
        model: The model. The caller closes it.
        card: Its description.
        hang_seconds: A step of the engine that takes longer than this hangs: frontends then pass over the worker.
    """

    def __init__(self, model: BitNetModel, card: ModelCard, hang_seconds: float) -> None:
        self._model = model
        self._card = card
        self._hang_seconds = hang_seconds
        self._engine = AsyncEngine(model.engine)
        self._answers: WeakSet[Answers] = WeakSet()
        self._leaving = False
        self._active = 0
        self._grammar = lru_cache(_KEPT_GRAMMARS)(self._compile)

    @property
    def active(self) -> int:
        """How many requests are being answered."""
        return self._active

    def is_alive(self) -> bool:
        """Return whether the engine makes progress, or has nothing to do."""
        return self._engine.stats().step_seconds < self._hang_seconds

    def is_ready(self) -> bool:
        """Return whether the worker takes texts now."""
        return self.is_alive() and not self._leaving

    def load(self) -> Load:
        """Return what the engine does now."""
        stats = self._engine.stats()
        return Load(
            running=stats.running,
            waiting=stats.waiting,
            blocks=stats.blocks,
            used_blocks=stats.blocks - stats.free_blocks,
            preemptions=stats.preemptions,
            draft_tokens=stats.draft_tokens,
            accepted_tokens=stats.accepted_tokens,
        )

    def leave(self) -> None:
        """Hand every text over to other workers, and take no more."""
        self._leaving = True
        for answers in list(self._answers):
            answers.leave()

    async def info(self, what: str) -> AsyncGenerator[str]:
        """Answer `runtime.ask`. A worker that hangs or leaves does not answer."""
        if what == "tokenizer":
            text = tokenizer_to_json(self._model.tokenizer)
            for start in range(0, len(text), _PART_CHARACTERS):
                yield text[start : start + _PART_CHARACTERS]
        elif self.is_ready():
            stats = self._engine.stats()
            yield json.dumps(
                {
                    "card": self._card.as_dict(),
                    "process": os.getpid(),
                    "running": stats.running,
                    "waiting": stats.waiting,
                }
            )

    async def texts(self, payload: str, context: Context) -> AsyncGenerator[str]:
        """Answer a request of a frontend with the JSON of frames."""
        self._active += 1
        try:
            request = request_from_json(payload)
            if isinstance(request, TextRequest):
                frames = self._continue(request, context)
            elif isinstance(request, ScoreRequest):
                frames = self._whole(self._score(request))
            else:
                frames = self._whole(self._embed(request))
            async for frame in frames:
                yield frame
        except BitNetError as error:
            yield Frame(error=error).to_json()
        finally:
            self._active -= 1

    async def _continue(self, request: TextRequest, context: Context) -> AsyncGenerator[str]:
        grammar = None
        if request.grammar is not None:
            grammar = await asyncio.to_thread(self._grammar, request.grammar)
        if self._leaving:
            yield LEAVING
            return
        stream = self._engine.stream(
            request.prompt,
            request.config,
            choice=request.choice,
            cache_key=request.cache_key,
            constraint=grammar.constraint() if grammar else None,
            resumed=request.resumed,
        )
        answers = Answers(stream, self.is_alive)
        self._answers.add(answers)
        left = asyncio.ensure_future(context.async_killed_or_stopped())
        left.add_done_callback(lambda _: answers.stop())
        try:
            async for frame in answers.frames():
                yield frame
        finally:
            left.cancel()

    async def _score(self, request: ScoreRequest) -> Frame:
        return Frame(scores=await self._engine.score(request.tokens, top=request.top, cache_key=request.cache_key))

    async def _embed(self, request: EmbeddingRequest) -> Frame:
        vector = await self._engine.embed(request.embedded, cache_key=request.cache_key)
        return Frame(embedding=vector.tolist())

    async def _whole(self, work: Coroutine[Any, Any, Frame]) -> AsyncGenerator[str]:
        """Answer with one frame, once it is complete."""
        answer = asyncio.ensure_future(work)
        try:
            while not self._leaving and not (await asyncio.wait([answer], timeout=ALIVE_SECONDS))[0]:
                if self.is_alive():
                    yield ALIVE
            yield answer.result().to_json() if answer.done() else LEAVING
        finally:
            answer.cancel()

    def _compile(self, source: str) -> Grammar:
        return self._compiler.from_source(source)

    @cached_property
    def _compiler(self) -> GrammarCompiler:
        card = self._card
        return GrammarCompiler(self._model.tokenizer, card.vocab_size, frozenset(card.eos_token_ids))


async def run_worker(
    model: BitNetModel,
    card: ModelCard,
    cluster: Cluster,
    *,
    hang_seconds: float,
    status_listener: socket.socket | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve until a signal comes. Then every text goes on at another worker. A second signal does not wait for that.

    Args:
        model: The model. The caller closes it.
        card: Its description.
        cluster: The cluster.
        hang_seconds: See `Worker`.
        status_listener: Where monitoring asks, see `worker_status`; None serves nothing there.
        on_ready: Called once frontends can find the worker.

    Raises:
        ConfigError: Workers of the same model name have another model.
        DeviceError: The cluster was lost: frontends cannot find the worker any more.
    """
    await _check_equal(card, cluster)
    worker = Worker(model, card, hang_seconds)
    texts, info = cluster.text_endpoint(card.pool), cluster.info_endpoint()
    await register_model(
        ModelInput.Tokens,
        ModelType.Empty,
        texts,
        card.name,
        card.name,
        worker_type=WorkerType.Aggregated,
        kv_cache_block_size=BLOCK_TOKENS,
        runtime_config=_runtime_config(card),
        skip_model_assets=True,
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    async def leave() -> None:
        await info.unregister_endpoint_instance()
        await texts.unregister_endpoint_instance()
        worker.leave()
        deadline = loop.time() + _LEAVE_SECONDS
        while worker.active and loop.time() < deadline:
            await asyncio.sleep(0.01)
        ended.set()

    leaving: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if leaving:
            ended.set()
        else:
            leaving.append(asyncio.ensure_future(leave()))

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal)
    # Texts first: a frontend asks for them as soon as it has the info.
    serving = [
        asyncio.ensure_future(texts.serve_endpoint(worker.texts, graceful_shutdown=False)),
        asyncio.ensure_future(info.serve_endpoint(worker.info, graceful_shutdown=False)),
    ]
    if status_listener is not None:
        server = StatusServer(status_app(worker.load, worker.is_ready))
        serving_status = asyncio.ensure_future(server.serve(sockets=[status_listener]))
    await (await info.client()).wait_for_instances()
    on_ready()
    ending = asyncio.ensure_future(ended.wait())
    await asyncio.wait([*serving, ending], return_when=asyncio.FIRST_COMPLETED)
    cluster.runtime.shutdown()
    await asyncio.gather(*serving)
    if status_listener is not None:
        server.should_exit = True
        await serving_status
    if not ended.is_set():  # the runtime ends by itself if it loses its lease
        place = cluster.settings.place
        raise DeviceError(f"this worker lost its place at {place}; check that it can be reached, and start it again")


async def _check_equal(card: ModelCard, cluster: Cluster) -> None:
    """Refuse to join workers of another model under the same name: a text could not move between them."""
    for info in (await cluster.list_workers()).values():
        if info is not None and info.card.name == card.name and info.card.fingerprint != card.fingerprint:
            other = info.card
            raise ConfigError(
                f"a worker of this cluster serves another model by the name {card.name!r}: {other.fingerprint} on "
                f"{other.device}, version {other.version}, but this one is {card.fingerprint} on {card.device}, "
                f"version {card.version}; workers of one name need equal files, context, device and numerics. Start "
                "this one with another --name or --namespace"
            )


def _runtime_config(card: ModelCard) -> ModelRuntimeConfig:
    config = ModelRuntimeConfig()
    config.context_length = card.context_length
    config.total_kv_blocks = card.blocks
    config.max_num_seqs = card.max_batch_size
    config.enable_local_indexer = False
    return config
