"""Tools: the functions that a model may call, and the grammar that makes every call valid."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitnet_tt.errors import RequestError
from bitnet_tt.server.call_syntax import CallSyntax
from bitnet_tt.server.structured_output import ANY_OBJECT, JSON_STYLE

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

_PLAIN = {"type", "properties", "required", "title", "description", "$schema", "$defs", "definitions"}
"""The keywords of a schema that lists all arguments of a function."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 128.
        description: What it does, for the model; may be empty.
        parameters: The JSON schema of its arguments, which are an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check the name and the type of the arguments.

        Raises:
            RequestError: The name has other characters, or is empty or too long; the arguments are not an object.
        """
        if not _NAME.fullmatch(self.name):
            raise RequestError(
                f"the tool name {self.name[:200]!r} must be 1 to 128 characters long: letters, digits, _ and -"
            )
        if (kind := self.parameters.get("type", "object")) != "object":
            raise RequestError(f"the parameters of the tool {self.name!r} have the type {kind!r}; it must be 'object'")


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How an answer may use tools.

    Attributes:
        tools: All tools of the request; the model sees them.
        allowed: The tools that it may call.
        required: The answer must be a call.
        parallel: The answer may hold several calls.
    """

    tools: Sequence[Tool]
    allowed: Sequence[Tool]
    required: bool
    parallel: bool


def instructions(tools: Sequence[Tool], syntax: CallSyntax) -> str:
    """Return the text of the system turn that tells a model its tools and the syntax of a call."""
    lines = ["You can call these functions:"]
    for tool in tools:
        described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        lines.append(json.dumps({key: value for key, value in described.items() if value}, ensure_ascii=False))
    lines.append(f"To call a function, write exactly:\n{syntax.write([('function name', '{}')])}")
    return "\n".join(lines)


def call_grammar(use: ToolUse, syntax: CallSyntax, schema: Mapping[str, Any] | None = None) -> str:
    """Return the Lark grammar of an answer with valid calls.

    Args:
        use: The tools. If no call is required, the answer may be text, or text and then calls.
        syntax: How calls are written.
        schema: A JSON schema of the text. Then the answer is either text or calls.
    """
    calls = " ".join(
        [
            *([json.dumps(syntax.first)] if syntax.first else []),
            "call",
            *([f"({json.dumps(syntax.between)} call)*"] if use.parallel and syntax.between is not None else []),
            *([json.dumps(syntax.last)] if syntax.last else []),
        ]
    )
    optional = "" if schema is not None or not syntax.first else "content? "
    rules = [f"start: {calls}" if use.required else f"start: content | {optional}{calls}"]
    rules.append(" | ".join(["call: call_0", *(f"call_{index}" for index in range(1, len(use.allowed)))]))
    for index, tool in enumerate(use.allowed):
        arguments = _embedded({**ANY_OBJECT, **_closed(tool.parameters)})
        rules.append(f'call_{index}: {json.dumps(syntax.object_begin(tool.name))} {arguments} "}}"')
    if not use.required and schema is not None:
        rules.append(f"content: {_embedded(schema)}")
    elif not use.required:
        anywhere = "(?s:.*)" if syntax.first else ""
        mark = re.escape(syntax.mark).replace("/", r"\/")
        rules += ["content: TEXT", f"TEXT: /(?s:.+)/ & ~/{anywhere}{mark}(?s:.*)/"]
    return "\n".join(rules) + "\n"


def _closed(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a tool's arguments without arguments that it does not name.

    JSON Schema allows other properties unless a schema says otherwise, but a function fails when it is called with
    arguments that it does not have. A schema with further keywords, which may name more, stays as it is.
    """
    named, required = parameters.get("properties"), parameters.get("required", [])
    if not isinstance(named, Mapping) or not isinstance(required, list) or not _PLAIN.issuperset(parameters):
        return parameters
    if not all(isinstance(name, str) and name in named for name in required):
        return parameters
    return {**parameters, "additionalProperties": False}


def _embedded(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema as a part of a grammar in Lark's syntax."""
    return f"%json {json.dumps({**schema, 'x-guidance': dict(JSON_STYLE)})}"
