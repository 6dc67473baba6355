"""Text to ids and back, as the model sees them: POST /tokenize, /detokenize, /apply-template."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from bitnet_tt.server.api.chat_fields import ChatFields
from bitnet_tt.server.api.schema import ApiRequest
from bitnet_tt.server.context import ServerContext, context_of

router = APIRouter()

Context = Annotated[ServerContext, Depends(context_of)]


class TokenizeRequest(ApiRequest):
    """A text to tokenize."""

    content: str
    model: str | None = None
    add_special: bool = False
    parse_special: bool = False
    with_pieces: bool = False


class DetokenizeRequest(ApiRequest):
    """Ids to convert to text."""

    tokens: list[int]
    model: str | None = None


class TemplateRequest(ChatFields):
    """A chat to render."""

    model: str | None = None


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, context: Context) -> dict[str, Any]:
    """Convert text to ids.

    `add_special` adds the tokens around a text. `parse_special` reads control tokens in the text.
    """
    context.check_model(body.model)
    token_ids = await context.encode(
        body.content, "content", parse_special=body.parse_special, add_bos=None if body.add_special else False
    )
    if not body.with_pieces:
        return {"tokens": token_ids}
    return {"tokens": [{"id": token_id, "piece": _piece(context, token_id)} for token_id in token_ids]}


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, context: Context) -> dict[str, Any]:
    """Convert ids to text, control tokens included."""
    context.check_model(body.model)
    if body.tokens:
        context.check_ids(body.tokens, "tokens")
    decode = context.model.tokenizer.decode
    return {"content": await asyncio.to_thread(decode, body.tokens, skip_special_tokens=False, continues=True)}


@router.post("/apply-template")
async def apply_template(body: TemplateRequest, context: Context) -> dict[str, Any]:
    """Render a chat as the model gets it: the text, and its ids."""
    context.check_model(body.model)
    conversation = body.conversation()
    return {"prompt": await conversation.text(context), "tokens": await conversation.prompt(context)}


def _piece(context: ServerContext, token_id: int) -> str | list[int]:
    """Return a token as text, or as bytes if it is a part of a character."""
    data = context.model.tokenizer.token_bytes(token_id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
