"""What a worker tells monitoring: whether it lives, whether it takes texts, and its gauges, over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import uvicorn
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bitnet_tt.server.metrics import LoadCollector
from bitnet_tt.server.text_service import Load


def status_app(load: Callable[[], Load], is_ready: Callable[[], bool]) -> Starlette:
    """Return the application: `/health`, `/ready` and `/metrics`, with the names and meanings of the server's own.

    Args:
        load: Returns the load of the worker's engine now.
        is_ready: Returns whether the worker takes texts now.
    """
    registry = CollectorRegistry()
    registry.register(LoadCollector(load))
    ProcessCollector(namespace="bitnet", registry=registry)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"}) if is_ready() else JSONResponse({"status": "unavailable"}, 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)])


class StatusServer(uvicorn.Server):
    """Serves the application in a running event loop. Signals are the worker's own business."""

    def __init__(self, app: Starlette) -> None:
        """Prepare to serve, with `serve(sockets=[...])`."""
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Capture none."""
        return contextlib.nullcontext()
