"""Dynamo's runtime: joining a cluster, the endpoints that workers serve there, and asking workers for their cards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from dynamo.runtime import Client, Context, DistributedRuntime, Endpoint

from bitnet_tt.errors import ConfigError
from bitnet_tt.scale.card import ModelCard
from bitnet_tt.scale.cluster import ClusterSettings

BLOCK_TOKENS = 32
"""Tokens of one block of the router's prefix tree. It is the size of the engine's own blocks."""

ANSWER_SECONDS = 2.0
"""A worker that does not tell its card for this long hangs."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker tells of itself.

    Attributes:
        card: Its model.
        process: Its process id, on its own machine.
        running: Texts that it computes now.
        waiting: Texts that wait at it for a place in the batch.
    """

    card: ModelCard
    process: int
    running: int
    waiting: int

    @classmethod
    def from_json(cls, text: str) -> WorkerInfo:
        """Read what a worker answered to `ask`."""
        data = json.loads(text)
        return cls(**data | {"card": ModelCard.from_dict(data["card"])})


class Cluster:
    """The cluster as one process of it sees it.

    Attributes:
        runtime: Dynamo's runtime.
        settings: How this process takes part.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        """Join the cluster. Call it in the event loop, after `environment.configure`.

        Raises:
            ConfigError: The runtime cannot start.
        """
        settings.check()
        discovery = "etcd" if settings.etcd else "file"
        try:
            loop = asyncio.get_running_loop()
            self.runtime = DistributedRuntime(loop, discovery, "tcp", event_plane="zmq")
        except Exception as error:  # the runtime raises plain exceptions
            raise ConfigError(f"the cluster at {settings.place} cannot be joined: {error}") from error
        self.settings = settings

    def info_endpoint(self) -> Endpoint:
        """Return the endpoint that every worker serves, of whatever model: see `ask`."""
        return self.runtime.endpoint(f"{self.settings.namespace}.workers.info")

    def text_endpoint(self, pool: str) -> Endpoint:
        """Return the endpoint at which the workers of a pool compute texts."""
        return self.runtime.endpoint(f"{self.settings.namespace}.{pool}.texts")

    async def list_workers(self) -> dict[int, WorkerInfo | None]:
        """Return what each worker tells of itself, by its id; None for one that does not answer."""
        client = await self.info_endpoint().client()
        ids = client.instance_ids()
        infos = await asyncio.gather(*(_info_or_none(client, worker) for worker in ids))
        return dict(zip(ids, infos, strict=True))


async def ask(client: Client, worker: int, what: str) -> AsyncGenerator[str]:
    """Ask a worker for `info`, one text, or for its `tokenizer`, a text in several parts.

    Raises:
        Exception: The worker cannot be reached. The runtime has several types of errors for that.
    """
    answer: Any = await client.direct(what, worker, annotated=False)
    async for part in answer:
        yield part


async def read_info(client: Client, worker: int) -> WorkerInfo:
    """Ask a worker what it is, and what it does.

    Raises:
        Exception: The worker cannot be reached, or hangs.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        return WorkerInfo.from_json("".join([part async for part in ask(client, worker, "info")]))


async def _info_or_none(client: Client, worker: int) -> WorkerInfo | None:
    try:
        return await read_info(client, worker)
    except Exception:
        return None


__all__ = ["ANSWER_SECONDS", "BLOCK_TOKENS", "Cluster", "Context", "WorkerInfo", "ask", "read_info"]
