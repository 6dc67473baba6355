"""The tools of a request, as every API gives them, become the tools of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bitnet_tt.errors import RequestError
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.tools import Tool, ToolUse

MAX_TOOLS = 128
"""The most tools of a request."""


def tool_use(
    given: Sequence[tuple[str, str, dict[str, Any]]],
    mode: Literal["none", "auto", "required"],
    only: Sequence[str] | None = None,
    *,
    parallel: bool,
) -> ToolUse | None:
    """Return how an answer may use tools; None if it may not.

    Args:
        given: The name, the description and the schema of the arguments of each tool.
        mode: Whether the answer may or must be a call.
        only: The names of the tools that may be called; None allows all.
        parallel: The answer may hold several calls.

    Raises:
        ApiError: A tool is not valid or is named twice, or one that may be called does not exist.
    """
    try:
        tools = [Tool(*one) for one in given]
    except RequestError as error:
        raise invalid(str(error), "tools") from error
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise invalid(f"tools has two functions with the name {twice!r}", "tools")
    if missing := next((name for name in only or () if name not in names), None):
        raise invalid(f"tool_choice names {missing[:200]!r}, which is not in tools", "tool_choice")
    allowed = tools if only is None else [tool for tool in tools if tool.name in only]
    if mode == "required" and not allowed:
        raise invalid("tool_choice asks for a call, but there are no tools", "tool_choice")
    if mode == "none" or not allowed:
        return None
    return ToolUse(tools, allowed, required=mode == "required", parallel=parallel)
