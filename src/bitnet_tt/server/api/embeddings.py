"""OpenAI's embeddings: POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from bitnet_tt.errors import BitNetError
from bitnet_tt.server.api.prompts import PROMPTS, check_prompts, encode_prompts
from bitnet_tt.server.api.schema import ApiRequest, Refusal
from bitnet_tt.server.calls import admit
from bitnet_tt.server.context import ServerContext, context_of, record_of
from bitnet_tt.server.errors import ApiError, api_error, invalid
from bitnet_tt.server.event_stream import until_gone
from bitnet_tt.server.text_service import DeadlineError

router = APIRouter()


class EmbeddingsRequest(ApiRequest):
    """The texts to embed."""

    ignored: ClassVar[frozenset[str]] = frozenset({"user"})
    refused: ClassVar[Mapping[str, Refusal]] = {}

    model: str
    input: Annotated[PROMPTS, BeforeValidator(check_prompts, json_schema_input_type=PROMPTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)


@router.post("/v1/embeddings", response_model=None)
async def embeddings(
    body: EmbeddingsRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Return the embedding of each text. The texts share the engine's batches with other requests."""
    context.check_model(body.model)
    size = context.model.embedding_size
    if size is None:
        message = "this server's model writes text; it has no embeddings. Use a server with an embedding model"
        raise ApiError(400, message, param="model", code="unsupported_endpoint")
    if body.dimensions not in (None, size):
        raise invalid(f"dimensions is {body.dimensions}; the embeddings of this model have {size}", "dimensions")
    limit = context.settings.limits.embedded_texts
    texts = await encode_prompts(context, body.input, "input", limit, parse_special=True)
    for token_ids in texts:
        context.check_prompt(token_ids, "input", new_tokens=0)
    record = record_of(request)
    record.prompt_tokens = sum(map(len, texts))
    record.prompt = body.input if context.log.with_text else None
    vectors = await until_gone(request, _embed(context, texts, record.key))
    return JSONResponse(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
                for index, vector in enumerate(vectors)
            ],
            "model": body.model,
            "usage": {"prompt_tokens": record.prompt_tokens, "total_tokens": record.prompt_tokens},
        }
    )


async def _embed(context: ServerContext, texts: list[list[int]], cache_key: str) -> list[NDArray[np.float32]]:
    """Embed texts. All together take the room of one text in the queue, as clients send hundreds at once."""
    admit(context.service, 1)
    tasks = [asyncio.ensure_future(context.service.embed(token_ids, cache_key=cache_key)) for token_ids in texts]
    try:
        return [await task for task in tasks]
    except (BitNetError, DeadlineError) as error:
        raise api_error(error) from error
    finally:
        for task in tasks:
            task.cancel()
        context.service.release()


def _encoded(vector: NDArray[np.float32], encoding: str) -> list[float] | str:
    """Return an embedding as numbers, or as the base64 of its little-endian float32."""
    if encoding == "float":
        numbers: list[float] = vector.tolist()
        return numbers
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
