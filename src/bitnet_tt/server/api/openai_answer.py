"""What the answers of OpenAI's chats and completions have in common: their heads, usage in streams, and ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from bitnet_tt.server.api.schema import StreamOptions
from bitnet_tt.server.calls import Call
from bitnet_tt.server.context import ServerContext
from bitnet_tt.server.event_stream import DONE, event


class OpenAIAnswer:
    """The base of the shapes of an answer.

    Args:
        context: The server.
        call: Generates the texts of the answer.
        options: What a stream holds besides text.
        prefix: The beginning of the answer's id.
        whole_kind: The value of `object` in a whole answer.
        chunk_kind: The value of `object` in an event of a stream.
    """

    def __init__(
        self,
        context: ServerContext,
        call: Call,
        options: StreamOptions,
        *,
        prefix: str,
        whole_kind: str,
        chunk_kind: str,
    ) -> None:
        self._call = call
        self._tokenizer = context.model.tokenizer
        self._has_usage = options.include_usage
        self._head: dict[str, Any] = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": whole_kind,
            "created": int(time.time()),
            "model": context.settings.model_name,
            "system_fingerprint": context.model.fingerprint,
        }
        self._chunk_head = self._head | {"object": chunk_kind}

    def failure(self, body: dict[str, Any]) -> bytes:
        """Return the last events of a stream that failed."""
        return event(body) + DONE

    def _whole(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._head | {"choices": choices, "usage": self._call.usage.as_dict()}

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        """Return an event with a piece of a choice."""
        return event(self._chunk_head | {"choices": [choice]} | ({"usage": None} if self._has_usage else {}))

    def _end(self) -> Iterator[bytes]:
        """Yield the last events of a stream."""
        if self._has_usage:
            yield event(self._chunk_head | {"choices": [], "usage": self._call.usage.as_dict()})
        yield DONE
