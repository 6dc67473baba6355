"""OpenAI's text completions: POST /v1/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BeforeValidator, Field

from bitnet_tt.config import GenerationConfig
from bitnet_tt.server.api.formats import REFUSED_FORMATS, FormatFields
from bitnet_tt.server.api.logprobs import completion_logprobs
from bitnet_tt.server.api.openai_answer import OpenAIAnswer
from bitnet_tt.server.api.prompts import PROMPTS, check_prompts, encode_prompts
from bitnet_tt.server.api.schema import Refusal, StreamFields
from bitnet_tt.server.calls import Call, Choice, Entries
from bitnet_tt.server.context import ServerContext, context_of

router = APIRouter()


class CompletionRequest(FormatFields, StreamFields):
    """The body of a text completion."""

    ignored: ClassVar[frozenset[str]] = frozenset({"user"})
    refused: ClassVar[Mapping[str, Refusal]] = {
        **REFUSED_FORMATS,
        "best_of": Refusal("use n, and pick the best yourself by logprobs", (1,)),
        "suffix": Refusal("this model continues texts; it does not fill gaps", ("",)),
    }

    prompt: Annotated[PROMPTS, BeforeValidator(check_prompts, json_schema_input_type=PROMPTS)]
    max_tokens: int = Field(default=16, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool = False


@router.post("/v1/completions", response_model=None)
async def completions(
    body: CompletionRequest, request: Request, context: Annotated[ServerContext, Depends(context_of)]
) -> Response:
    """Continue each prompt. With `echo` and `logprobs`, the tokens of the prompt are scored too."""
    context.check_model(body.model)
    generates = body.max_tokens > 0
    config = context.config(
        body, max_tokens=max(body.max_tokens, 1), max_tokens_field="max_tokens", logprobs=body.logprobs
    )
    form = body.answer_format
    grammar = None if form is None else await context.grammar(lambda one: one.from_format(form), form.param)
    prompts = await encode_prompts(context, body.prompt, "prompt", context.settings.limits.prompts)
    for token_ids in prompts:
        context.check_prompt(token_ids, "prompt", new_tokens=1 if generates else 0)
    call = context.start(
        request,
        prompts,
        config,
        n=body.n if generates else 0,
        score_top=body.logprobs if body.echo else None,
        stream=body.stream,
        prompt_text=body.prompt,
        grammar=grammar,
    )
    return await context.respond(request, call, _Answer(context, body, prompts, call))


class _Answer(OpenAIAnswer):
    """The shapes of the answer to one request."""

    def __init__(
        self, context: ServerContext, body: CompletionRequest, prompts: Sequence[Sequence[int]], call: Call
    ) -> None:
        kind = "text_completion"
        super().__init__(context, call, body.stream_options, prefix="cmpl", whole_kind=kind, chunk_kind=kind)
        self._body = body
        # Without new tokens the call has no choices, and a choice is nothing but its prompt.
        self._choices = call.choices or [
            Choice(prompt * body.n + number, prompt, number, prompt_ids, GenerationConfig(), finish_reason="length")
            for prompt, prompt_ids in enumerate(prompts)
            for number in range(body.n)
        ]

    async def whole(self) -> dict[str, Any]:
        scores = dict(enumerate(await self._call.scores()))
        await self._call.finish()
        choices = []
        for choice in self._choices:
            echoed, entries = self._echo(choice), scores.get(choice.prompt, [])
            token_ids = [*(choice.prompt_ids if entries else ()), *choice.token_ids]
            logprobs, _ = self._logprobs(token_ids, [*entries, *choice.logprobs], 0 if entries else len(echoed))
            choices.append(_choice(choice.index, echoed + choice.text, logprobs, choice.finish_reason))
        return self._whole(choices)

    async def events(self) -> AsyncGenerator[bytes]:
        scores = dict(enumerate(await self._call.scores()))
        offsets: dict[int, int] = {}
        held: dict[int, tuple[list[int], Entries]] = {}
        for choice in self._choices:
            echoed, entries = self._echo(choice), scores.get(choice.prompt, [])
            logprobs, offset = self._logprobs(list(choice.prompt_ids), entries, 0) if entries else (None, len(echoed))
            offsets[choice.index], held[choice.index] = offset, ([], [])
            if self._body.echo:
                yield self._chunk(_choice(choice.index, echoed, logprobs, choice.finish_reason))
            elif choice.finish_reason:
                yield self._chunk(_choice(choice.index, "", None, choice.finish_reason))
        async for choice, piece in self._call.pieces():
            token_ids, entries = held[choice.index]
            token_ids += piece.token_ids
            entries += piece.logprobs
            if piece.text or piece.finish_reason:
                logprobs, offsets[choice.index] = self._logprobs(token_ids, entries, offsets[choice.index])
                held[choice.index] = ([], [])
                yield self._chunk(_choice(choice.index, piece.text, logprobs, piece.finish_reason))
        for one in self._end():
            yield one

    def _echo(self, choice: Choice) -> str:
        """Return the text of the prompt, if it is to be repeated."""
        if not self._body.echo:
            return ""
        prompt = self._body.prompt
        if isinstance(prompt, str):
            return prompt
        one = prompt[choice.prompt]
        return one if isinstance(one, str) else self._tokenizer.decode(choice.prompt_ids)

    def _logprobs(self, token_ids: list[int], entries: Entries, offset: int) -> tuple[dict[str, Any] | None, int]:
        if self._body.logprobs is None:
            return None, offset
        return completion_logprobs(self._tokenizer, token_ids, entries, offset)


def _choice(index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
