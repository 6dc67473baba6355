"""The frontend: our server, whose texts are computed by the workers of a cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from bitnet_tt.checks import is_number, require
from bitnet_tt.scale.fleet import Fleet, find_model
from bitnet_tt.scale.fleet_service import FleetService
from bitnet_tt.scale.runtime import Cluster
from bitnet_tt.server.app import app_of
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.request_log import RequestLog
from bitnet_tt.server.run import serve_app
from bitnet_tt.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How a frontend deals with workers.

    Attributes:
        name: Serve the workers of this model name; None takes the first worker's.
        stall_seconds: A worker that says nothing for this long is passed over, and its texts go on elsewhere. Workers
            say every half second that they live, however long a step takes.
        wait_seconds: How long a text waits for a worker if there is none; then it ends in an error.
    """

    name: str | None = None
    stall_seconds: float = 5.0
    wait_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: A value is out of range; the message names the field.
        """
        stall, wait = self.stall_seconds, self.wait_seconds
        require("stall_seconds", stall, "a number of seconds of at least 1", is_number(stall, 1.0))
        require("wait_seconds", wait, "0 or a positive number of seconds", is_number(wait, 0.0))


async def run_frontend(
    cluster: Cluster,
    settings: ServerSettings,
    fleet_settings: FleetSettings,
    listener: socket.socket,
    log: RequestLog,
    *,
    tell: Callable[[str], None],
    on_ready: Callable[[str], None],
) -> int:
    """Wait for the first worker, then serve until a signal comes, as `serve_app` does.

    Args:
        cluster: The cluster.
        settings: The settings of the server. Its model name comes from the worker.
        fleet_settings: How to deal with workers.
        listener: The socket of `listening_socket`.
        log: Writes the lines of the log.
        tell: Takes a line about a worker that came, failed or left, for people.
        on_ready: Called with the model's name once clients can connect.

    Returns:
        The exit code of `serve_app`.
    """
    card, tokenizer = await find_model(cluster, fleet_settings.name)
    fleet = Fleet(cluster, card, wait_seconds=fleet_settings.wait_seconds, tell=tell)
    await fleet.start()
    service = FleetService(
        fleet,
        max_waiting=settings.limits.queue,
        timeout=settings.limits.request_seconds,
        stall_seconds=fleet_settings.stall_seconds,
    )
    settings = replace(settings, model_name=card.name)
    app = app_of(ServerContext.create(card.served_model(tokenizer), service, settings, log))
    try:
        return await serve_app(app, listener, lambda: on_ready(card.name))
    finally:
        cluster.runtime.shutdown()
