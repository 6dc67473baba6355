"""For operators: GET /health, /ready, /metrics, /props, /docs."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from bitnet_tt.server.context import ServerContext, context_of
from bitnet_tt.server.endpoint_page import endpoint_page
from bitnet_tt.server.errors import ApiError

router = APIRouter()

Context = Annotated[ServerContext, Depends(context_of)]


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process lives. `/ready` says whether it can answer."""
    return {"status": "ok"}


@router.get("/ready", response_model=None)
async def ready(context: Context) -> JSONResponse:
    """Say whether a request would be answered now: 200, or 503 with the reason."""
    service = context.service
    reason = service.failure()
    stalled = service.seconds_without_progress()
    if context.draining:
        reason = "draining"
    elif stalled > context.settings.limits.hang_seconds:
        reason = f"the current step takes {stalled:.1f} s already"
    elif service.waiting >= service.max_waiting and service.running >= service.max_running:
        reason = "the queue is full"
    status = {"running": service.running, "waiting": service.waiting}
    if reason is not None:
        return JSONResponse({"status": "unavailable", "reason": reason} | status, 503, {"retry-after": "1"})
    return JSONResponse({"status": "ready"} | status)


@router.get("/metrics", response_model=None)
async def metrics(context: Context) -> Response:
    """Return metrics in Prometheus' text format."""
    if not context.settings.metrics:
        raise ApiError(404, "this server was started with --no-metrics", code="not_found")
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/props")
async def props(context: Context) -> dict[str, Any]:
    """Describe the server: model, template, limits, versions."""
    model, settings = context.model, context.settings
    return {
        "model": settings.model_name,
        "device": model.device,
        "system_fingerprint": model.fingerprint,
        "context_length": model.context_length,
        "vocab_size": model.vocab_size,
        "bos_token": model.tokenizer.bos_token,
        "eos_tokens": list(model.tokenizer.eos_tokens),
        "chat_template": model.tokenizer.chat_templates.get("default"),
        "limits": asdict(settings.limits)
        | {"max_batch_size": settings.max_batch_size, "max_stall_ms": settings.max_stall_ms},
        "needs_key": settings.api_keys is not None,
        "versions": {"bitnet_tt": version("bitnet-tt"), "python": platform.python_version()},
    }


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Show the endpoints and their fields."""
    return HTMLResponse(
        endpoint_page(request.app.openapi()),
        headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
    )
