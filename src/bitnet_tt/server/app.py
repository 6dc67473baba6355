"""The ASGI application: every route, and what happens around each request."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from bitnet_tt.model import BitNetModel
from bitnet_tt.server.api import chat, completions, embeddings, messages, models, operations, responses, tokens
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.errors import ApiError, error_response, from_status, from_validation
from bitnet_tt.server.generation_service import GenerationService
from bitnet_tt.server.middleware import CountActive, LimitBodies, RecordRequests, RefuseWhileDraining, RequireKeys
from bitnet_tt.server.page_files import PageFiles
from bitnet_tt.server.request_log import RequestLog
from bitnet_tt.server.served_model import ServedModel
from bitnet_tt.server.settings import ServerSettings

_EXPOSED_HEADERS = ["x-request-id", "retry-after"]
_ROUTERS = (chat, completions, responses, messages, embeddings, models, tokens, operations)


def create_app(model: BitNetModel, settings: ServerSettings, log: RequestLog | None = None) -> FastAPI:
    """Return the application that serves a model of this process.

    To end it, call `app.state.context.service.cancel_all()`, then close the model.

    Args:
        model: The model.
        settings: The settings of the server.
        log: Writes the lines of the log; by default to standard error.
    """
    log = log or RequestLog(as_json=settings.log_json, with_text=settings.log_text)
    limits = settings.limits
    service = GenerationService(
        model, max_running=settings.max_batch_size, max_waiting=limits.queue, timeout=limits.request_seconds
    )
    return app_of(ServerContext.create(ServedModel.of(model), service, settings, log))


def app_of(context: ServerContext) -> FastAPI:
    """Return the application of a context."""
    settings, log = context.settings, context.log
    middleware = [
        Middleware(RecordRequests, log=log, count=context.metrics.answered),
        *_cors(settings),
        Middleware(RequireKeys, keys=settings.api_keys),
        Middleware(RefuseWhileDraining, context=context),
        Middleware(CountActive, context=context),
        Middleware(LimitBodies, limits=settings.limits),
    ]
    app = FastAPI(
        title="BitNet-TT",
        version=version("bitnet-tt"),
        docs_url=None,
        redoc_url=None,
        middleware=middleware,
        exception_handlers={
            ApiError: _on_api_error,
            HTTPException: _on_http_exception,
            RequestValidationError: _on_validation_error,
        },
    )
    app.state.context = context
    for one in _ROUTERS:
        app.include_router(one.router)
    app.mount("/", PageFiles())
    return app


def _cors(settings: ServerSettings) -> list[Middleware]:
    """Return what lets web pages of other origins in. Without origins, browsers keep them out."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=_EXPOSED_HEADERS,
        )
    ]


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    request.scope["state"]["record"].error = request.app.state.context.log.describe(error)
    return error_response(error, request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 400:
        told = ApiError(400, "the body cannot be read as JSON", code="invalid_json")
    else:
        allow = ", ".join(map(str.upper, request.app.openapi()["paths"].get(path, ())))
        status = 405 if allow and error.status_code == 404 else error.status_code
        told = from_status(status, str(error.detail), request.method, path, allow)
    return await _on_api_error(request, told)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _on_api_error(request, from_validation(error, request.headers.get("content-type", "")))
