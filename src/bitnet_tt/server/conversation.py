"""Conversation: what the model is to answer. Every chat API converts its requests to one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError
from bitnet_tt.server.answer_parts import AnswerParts
from bitnet_tt.server.call_syntax import HERMES, CallSyntax, shows_tools, syntax_of
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.errors import invalid, unsupported
from bitnet_tt.server.structured_output import AnswerFormat, Grammar, GrammarCompiler
from bitnet_tt.server.tools import Tool, ToolUse, call_grammar, instructions
from bitnet_tt.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of a chat, and what the answer may and must be.

    Attributes:
        messages: As OpenAI's chat completions have them, with the roles that chat templates know. The arguments of tool
            calls are JSON.
        param: The field of the request that holds the messages, for errors.
        tools: How the answer may use tools; None if it may not.
        form: The format of the answer's text; None allows all texts.
        continues: The answer continues the last message, which is the assistant's.
        add_generation_prompt: The prompt ends with the beginning of the assistant's turn, unless it continues one.
    """

    messages: Sequence[Mapping[str, Any]]
    param: str = "messages"
    tools: ToolUse | None = None
    form: AnswerFormat | None = None
    continues: bool = False
    add_generation_prompt: bool = True

    async def start(
        self, context: ServerContext, request: Request, config: GenerationConfig, *, n: int = 1, stream: bool
    ) -> Call:
        """Start to generate answers. The caller closes the call.

        Raises:
            ApiError: The conversation cannot be answered, or there is no room (429).
        """
        grammar = await self.grammar(context)
        prompt = await self.prompt(context)
        context.check_prompt(prompt, self.param)
        return context.start(request, [prompt], config, n=n, stream=stream, prompt_text=self.messages, grammar=grammar)

    async def prompt(self, context: ServerContext) -> list[int]:
        """Return the ids of the prompt.

        Raises:
            ApiError: The chat template cannot show the conversation.
        """
        messages, options = self._for_template(context.model.tokenizer)
        return await context.encode_chat(messages, self.param, **options)

    async def text(self, context: ServerContext) -> str:
        """Return the prompt as text. Errors are those of `prompt`."""
        messages, options = self._for_template(context.model.tokenizer)
        return await context.render_chat(messages, self.param, **options)

    async def grammar(self, context: ServerContext) -> Grammar | None:
        """Return the grammar of the answer, by its format and its tools; None if it may be any text.

        Raises:
            ApiError: It cannot be enforced.
        """
        form, use = self.form, self.tools
        if use is None:
            return None if form is None else await context.grammar(lambda one: one.from_format(form), form.param)
        syntax = self._syntax(context.model.tokenizer)
        if form is not None and (form.kind != "json_schema" or not syntax.first):
            raise invalid(f"{form.param} cannot be combined with tools here; leave one of them out", form.param)

        def compile_it(compiler: GrammarCompiler) -> Grammar:
            try:
                return compiler.from_lark(call_grammar(use, syntax, None if form is None else form.source))
            except RequestError:
                _find_wrong_schema(compiler, use)
                raise

        return await context.grammar(compile_it, "tools" if form is None else form.param)

    def parts(self, context: ServerContext) -> AnswerParts:
        """Return what finds the parts of an answer."""
        return AnswerParts(None if self.tools is None else self._syntax(context.model.tokenizer))

    def _syntax(self, tokenizer: Tokenizer) -> CallSyntax:
        """Return how the model writes calls.

        Raises:
            ApiError: We do not know how.
        """
        template = _template(tokenizer)
        if not shows_tools(template):
            return HERMES
        syntax = syntax_of(template)
        special = {tokenizer.id_to_token(token_id) or "" for token_id in tokenizer.special_ids}
        if syntax is None or syntax.mark in special:  # a grammar is about text; it cannot ask for a special token
            raise unsupported("tools", "the model's chat template shows calls in a syntax that this server cannot read")
        return syntax

    def _for_template(self, tokenizer: Tokenizer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the messages and the options for the tokenizer."""
        last = self.messages[-1] if self.messages else {}
        if self.continues and (last.get("role") != "assistant" or last.get("tool_calls")):
            raise invalid("only a text of the assistant can be continued, as the last message", self.param)
        options: dict[str, Any] = {
            "add_generation_prompt": self.add_generation_prompt and not self.continues,
            "continue_last": self.continues,
        }
        if not shows_tools(_template(tokenizer)):
            return _as_text(self.messages, self.tools), options
        shown = None if self.tools is None else [_shown(tool) for tool in self.tools.tools]
        return [_with_objects(message) for message in self.messages], options | {"variables": {"tools": shown}}


def _find_wrong_schema(compiler: GrammarCompiler, use: ToolUse) -> None:
    """Say which tool has the schema that cannot be enforced, if it is that of one tool alone.

    Raises:
        ApiError: The message names the tool.
    """
    for tool in use.allowed:
        try:
            compiler.from_json_schema(tool.parameters)
        except RequestError as error:
            raise invalid(f"the tool {tool.name!r}: {error}", "tools") from error


def _template(tokenizer: Tokenizer) -> str:
    return tokenizer.chat_templates.get("tool_use") or tokenizer.chat_templates.get("default", "")


def _shown(tool: Tool) -> dict[str, Any]:
    """Return a tool as chat templates know it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _with_objects(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose calls have their arguments as objects, which templates expect; as text if they are not."""
    calls = []
    for call in message.get("tool_calls", ()):
        try:
            arguments = json.loads(call["function"]["arguments"])
        except (ValueError, RecursionError):
            arguments = call["function"]["arguments"]
        calls.append({**call, "function": {**call["function"], "arguments": arguments}})
    return {**message} | ({"tool_calls": calls} if calls else {})


def _as_text(messages: Sequence[Mapping[str, Any]], use: ToolUse | None) -> list[dict[str, Any]]:
    """Return the messages as text only, for a template without tools.

    The system turn tells the model its tools. Earlier calls become text of the assistant.
    """
    plain: list[dict[str, Any]] = []
    for message in messages:
        texts = [message["content"]] if message.get("content") else []
        if calls := [call["function"] for call in message.get("tool_calls", ())]:
            texts.append(HERMES.write((call["name"], call["arguments"]) for call in calls))
        rest = {name: value for name, value in message.items() if name not in ("tool_calls", "tool_call_id")}
        plain.append(rest | {"content": "\n".join(texts)})
    if use is not None:
        text = instructions(use.tools, HERMES)
        if plain and plain[0]["role"] == "system":
            plain[0] = plain[0] | {"content": f"{plain[0]['content']}\n\n{text}"}
        else:
            plain.insert(0, {"role": "system", "content": text})
    return plain
