"""Fleet: the equal workers of one model, as a frontend sees them, and the choice of one for a text."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dynamo.llm import KvRouter, KvRouterConfig
from dynamo.runtime import Client, Context

from bitnet_tt.errors import DeviceError
from bitnet_tt.scale.card import ModelCard, tokenizer_from_json
from bitnet_tt.scale.runtime import BLOCK_TOKENS, Cluster, WorkerInfo, ask, read_info
from bitnet_tt.tokenizer import Tokenizer

_WATCH_SECONDS = 0.1
"""How often the list of workers is looked at. It is in memory: looking sends nothing."""

_FIRST_PROBE_SECONDS, _PROBE_SECONDS = 1.0, 10.0
"""When a worker that failed is first asked whether it works again, and how often in the end."""

_CACHED_SECONDS = 600.0
"""The router forgets after this time that a worker computed a prefix."""


@dataclass(slots=True)
class Member:
    """A worker of the fleet.

    Attributes:
        worker: Its id in Dynamo's discovery.
        card: Its model.
        active: How many texts it computes for this frontend.
        failed: Whether it could not be reached, or hung, and has not answered since.
    """

    worker: int
    card: ModelCard
    active: int = 0
    failed: bool = False


class Fleet:
    """The workers whose model has the name and the fingerprint of `card`. Tasks of one event loop call it.

    Args:
        cluster: The cluster.
        card: The model.
        wait_seconds: How long a text waits for a worker if there is none.
        tell: Takes a line about a worker that came, failed or was refused, for people.
    """

    def __init__(self, cluster: Cluster, card: ModelCard, *, wait_seconds: float, tell: Callable[[str], None]) -> None:
        self.card = card
        self._cluster = cluster
        self._wait_seconds = wait_seconds
        self._tell = tell
        self._members: dict[int, Member] = {}
        self._others: set[int] = set()  # workers of other models
        self._changed = asyncio.Condition()
        self._probes: set[asyncio.Future[None]] = set()  # the event loop itself does not keep tasks

    async def start(self) -> None:
        """Begin to watch the workers, until the event loop ends."""
        endpoint = self._cluster.text_endpoint(self.card.pool)
        self._infos = await self._cluster.info_endpoint().client()
        self._texts = await endpoint.client()
        self._router = KvRouter(
            endpoint, BLOCK_TOKENS, KvRouterConfig(use_kv_events=False, router_ttl_secs=_CACHED_SECONDS)
        )
        await self._look()
        self._watcher = asyncio.ensure_future(self._watch())

    @property
    def members(self) -> Sequence[Member]:
        """The workers that can be asked."""
        return [member for member in self._members.values() if not member.failed]

    @asynccontextmanager
    async def lease(self, tokens: Sequence[int], cache_key: str) -> AsyncIterator[Lease]:
        """Choose a worker for a text: one that has much of it in its cache, and little to do.

        Args:
            tokens: All tokens of the text so far.
            cache_key: Texts of other keys do not count as cached.

        Raises:
            DeviceError: There is no worker.
        """
        await self._wait_for_member()
        request_id = uuid.uuid4().hex
        member = await self._best(tokens, cache_key, request_id)
        if member is None or member.failed:
            await self._wait_for_member()
            member = min(self.members, key=lambda one: one.active)
        member.active += 1
        try:
            yield Lease(self, member, self._texts, self._router, request_id)
        finally:
            member.active -= 1
            await self._router.free(request_id)

    def fail(self, member: Member, reason: str) -> None:
        """Ask a worker for no more texts, until it answers again."""
        if not member.failed:
            member.failed = True
            self._tell(f"worker {member.worker:x} is passed over: {reason}")
            probe = asyncio.ensure_future(self._probe_until_back(member))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _best(self, tokens: Sequence[int], cache_key: str, request_id: str) -> Member | None:
        """Return the worker that the router chooses. It may not know yet that a worker has failed, or is new."""
        try:
            best, _, _ = await self._router.best_worker(
                list(tokens), request_id=request_id, update_indexer=True, cache_namespace=cache_key or None
            )
        except Exception:  # it knows none yet; the runtime has several types of errors for that
            return None
        return self._members.get(best)

    async def _wait_for_member(self) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds), self._changed:
                await self._changed.wait_for(lambda: self.members)
        except TimeoutError:
            raise DeviceError(
                f"no worker of {self.card.name!r} is left; start one with bitnet-tt scale worker, and send the request "
                "again"
            ) from None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._look()

    async def _look(self) -> None:
        present = set(self._infos.instance_ids())
        for worker in set(self._members) - present:
            del self._members[worker]
            self._tell(f"worker {worker:x} left")
        self._others &= present
        new = present - set(self._members) - self._others
        if new:
            await asyncio.gather(*map(self._meet, new))
            async with self._changed:
                self._changed.notify_all()

    async def _meet(self, worker: int) -> None:
        try:
            info = await read_info(self._infos, worker)
        except Exception:  # it is asked again at the next look, as long as it is listed
            return
        card = info.card
        if card.fingerprint == self.card.fingerprint and card.name == self.card.name:
            self._members[worker] = Member(worker, card)
            self._tell(f"worker {worker:x} serves: {card.device}")
            return
        self._others.add(worker)
        if card.name == self.card.name:
            self._tell(
                f"worker {worker:x} is refused: its model {card.name!r} is {card.fingerprint}, and this frontend "
                f"serves {self.card.fingerprint}"
            )

    async def _probe_until_back(self, member: Member) -> None:
        pause = _FIRST_PROBE_SECONDS
        while self._members.get(member.worker) is member:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PROBE_SECONDS)
            try:
                await read_info(self._infos, member.worker)
            except Exception:
                continue
            member.failed = False
            self._tell(f"worker {member.worker:x} answers again")
            async with self._changed:
                self._changed.notify_all()
            return


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker that was chosen for a text."""

    fleet: Fleet
    member: Member
    client: Client
    router: KvRouter
    request_id: str

    async def call(self, payload: str, context: Context) -> AsyncIterator[str]:
        """Send a request; return the frames of its answer.

        Raises:
            Exception: The worker cannot be reached. The runtime has several types of errors for that.
        """
        answer: Any = await self.client.direct(payload, self.member.worker, annotated=False, context=context)
        frames: AsyncIterator[str] = aiter(answer)
        return frames

    async def prompt_is_computed(self) -> None:
        """Tell the router that the first token came."""
        await self.router.mark_prefill_complete(self.request_id)

    def fail(self, reason: str) -> None:
        """Say that the worker was lost."""
        self.fleet.fail(self.member, reason)


async def find_model(cluster: Cluster, name: str | None) -> tuple[ModelCard, Tokenizer]:
    """Wait for a worker, and return its model and tokenizer.

    Args:
        cluster: The cluster.
        name: The name of the model; None takes the first that is there.
    """
    client = await cluster.info_endpoint().client()
    while True:
        for worker in client.instance_ids():
            try:
                info: WorkerInfo = await read_info(client, worker)
                if name is None or info.card.name == name:
                    text = "".join([part async for part in ask(client, worker, "tokenizer")])
                    return info.card, tokenizer_from_json(text)
            except Exception:  # the worker has just ended; ask the next one
                continue
        await asyncio.sleep(_WATCH_SECONDS)
