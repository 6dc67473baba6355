"""Text to ids and back, as the model sees them: POST /tokenize, /detokenize, /apply-template."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends
from pydantic import Field

from bitnet_tt.server.api.chat_tools import template_has_tools, with_tools
from bitnet_tt.server.api.schema import NO_TOOLS, ApiRequest, ChatMessage, Refusal
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


class TemplateRequest(ApiRequest):
    """A chat to render."""

    refused: ClassVar[Mapping[str, Refusal]] = {
        "tools": Refusal(NO_TOOLS, ([],)),
        "tool_choice": Refusal(NO_TOOLS, ("none", "auto")),
    }

    messages: list[ChatMessage] = Field(min_length=1)
    model: str | None = None
    add_generation_prompt: bool = True


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
    messages = [message.for_template() for message in body.messages]
    if not template_has_tools(context.model.tokenizer):
        messages = with_tools(messages, None)
    options = {"add_generation_prompt": body.add_generation_prompt}
    text = await context.render_chat(messages, "messages", **options)
    return {"prompt": text, "tokens": await context.encode_chat(messages, "messages", **options)}


def _piece(context: ServerContext, token_id: int) -> str | list[int]:
    """Return a token as text, or as bytes if it is a part of a character."""
    data = context.model.tokenizer.token_bytes(token_id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
