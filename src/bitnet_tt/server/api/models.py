"""The list of models: GET /v1/models and /v1/models/NAME."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from bitnet_tt.server.context import ServerContext, context_of

router = APIRouter()

Context = Annotated[ServerContext, Depends(context_of)]


@router.get("/v1/models")
async def models(context: Context) -> dict[str, Any]:
    """List the one model of this server."""
    return {"object": "list", "data": [_describe(context)]}


@router.get("/v1/models/{model:path}")
async def model(model: str, context: Context) -> dict[str, Any]:
    """Describe a model."""
    context.check_model(model)
    return _describe(context)


def _describe(context: ServerContext) -> dict[str, Any]:
    return {
        "id": context.settings.model_name,
        "object": "model",
        "created": context.started_at,
        "owned_by": "bitnet-tt",
        "max_model_len": context.model.context_length,
    }
