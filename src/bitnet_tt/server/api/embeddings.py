"""POST /v1/embeddings: refused, because a model that writes text has no embeddings of texts."""

from __future__ import annotations

from typing import NoReturn

from fastapi import APIRouter

from bitnet_tt.server.errors import ApiError

router = APIRouter()


@router.post("/v1/embeddings", response_model=None)
async def embeddings() -> NoReturn:
    """Say that this model has no embeddings of texts."""
    message = "this server's model writes text; it has no embeddings. Use a server with an embedding model"
    raise ApiError(400, message, param="model", code="unsupported_endpoint")
