"""A model behind an OpenAI-compatible server, for `bitnet-tt chat --url`."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import RequestError
from bitnet_tt.generation import Piece, Timings

if TYPE_CHECKING:
    from bitnet_tt.tokenizer.chat_template import Message

_TIMEOUT_SECONDS = 600
"""How long to wait for the next bytes. Servers may read a long prompt before they answer."""

_STANDARD = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "seed": "seed"}
"""Fields of `GenerationConfig` that every server knows, by their names there."""

_EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "stop_token_ids", "ignore_eos")
"""Fields that many servers know by the same name. They are sent only if they are not at their default."""


class RemoteModel:
    """Chats through `POST /v1/chat/completions`.

    Attributes:
        name: The model's name on the server.
        url: The address, up to and including `/v1`.
    """

    def __init__(self, url: str, name: str | None, api_key: str | None = None) -> None:
        """Find out the model's name if it is not given.

        Args:
            url: The server's address, with or without `/v1` at its end.
            name: The model's name on the server. None takes the first one that the server has.
            api_key: The key to send, or None.

        Raises:
            RequestError: The address is not valid, or the server cannot be reached or has no model.
        """
        if not url.startswith(("http://", "https://")):
            raise RequestError(f"{url} is not the address of a server; it begins with http:// or https://")
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self.name = name or self._first_model()

    def stream_chat(self, messages: Sequence[Message], config: GenerationConfig) -> Iterator[Piece]:
        """Answer a conversation, and yield the text as it arrives. Closing the iterator ends the request.

        The last piece has the numbers of tokens if the server counts them, and times as this program sees them.

        Raises:
            RequestError: The server cannot be reached, refuses the request, or ends the stream early.
        """
        body = {"model": self.name, "messages": list(messages), "stream": True, **_options(config)}
        started = first = time.perf_counter()
        usage: Mapping[str, Any] = {}
        reason = None
        with self._request("/chat/completions", body) as response:
            for event in _events(response):
                if "error" in event:
                    raise RequestError(f"{self.url}: {_message(event)}")
                usage = event.get("usage") or usage
                for choice in (event.get("choices") or [])[:1]:
                    reason = choice.get("finish_reason") or reason
                    text = (choice.get("delta") or {}).get("content") or ""
                    if text:
                        first = time.perf_counter() if first == started else first
                        yield Piece(text=text)
        if reason is None:
            raise RequestError(f"{self.url} ended the answer without a reason; its log may say more")
        timings = Timings(
            prompt_tokens=int(usage.get("prompt_tokens", 0)),
            reused_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            generated_tokens=int(usage.get("completion_tokens", 0)),
            first_token_seconds=first - started,
            decode_seconds=time.perf_counter() - first,
        )
        yield Piece(text="", finish_reason="length" if reason == "length" else "stop", timings=timings)

    def count_prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return 0: only the server can count the tokens of a prompt."""
        return 0

    def _first_model(self) -> str:
        with self._request("/models") as response:
            data = _parse(response.read()).get("data") or []
        if not data:
            raise RequestError(f"{self.url} has no model")
        return str(data[0]["id"])

    @contextmanager
    def _request(self, path: str, body: Mapping[str, Any] | None = None) -> Iterator[http.client.HTTPResponse]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                yield response
        except urllib.error.HTTPError as error:
            raise RequestError(
                f"{self.url} answers {error.code}: {_message(_parse(error.read())) or error.reason}"
            ) from error
        except urllib.error.URLError as error:
            raise RequestError(f"cannot reach {self.url}: {error.reason}") from error
        except (http.client.HTTPException, OSError) as error:
            raise RequestError(f"the connection to {self.url} ended: {error or type(error).__name__}") from error


def read_api_key(path: Path) -> str:
    """Return the key in the first line of a file."""
    return path.read_text(encoding="utf-8").partition("\n")[0].strip()


def _options(config: GenerationConfig) -> dict[str, Any]:
    options = {name: getattr(config, field) for field, name in _STANDARD.items()}
    options |= {"stop": list(config.stop or ()), "stream_options": {"include_usage": True}}
    defaults = {field.name: field.default for field in fields(GenerationConfig)}
    options |= {name: getattr(config, name) for name in _EXTENSIONS if getattr(config, name) != defaults[name]}
    return {name: value for name, value in options.items() if value not in (None, [])}


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the data of server-sent events until `[DONE]`."""
    for line in response:
        field, _, value = line.decode("utf-8", errors="replace").partition(":")
        value = value.strip()
        if field == "data" and value == "[DONE]":
            return
        if field == "data":
            yield _parse(value.encode())


def _parse(data: bytes) -> dict[str, Any]:
    """Read a JSON object; anything else gives an empty one."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _message(answer: Mapping[str, Any]) -> str:
    """Return the message of an error as OpenAI and others write it, or an empty text."""
    error = answer.get("error", answer.get("detail", ""))
    return str(error.get("message", error) if isinstance(error, Mapping) else error)
