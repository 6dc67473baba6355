"""The log: one line a request, for programs (JSON) or for people. It has no text of users unless asked for."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bitnet_tt.server.errors import ApiError

type Write = Callable[[str], None]

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


@dataclass(slots=True)
class RequestRecord:
    """What the log says about one request. The middleware makes it, and the routes fill in what they know.

    Times are those of `time.perf_counter`, in seconds.
    """

    method: str = ""
    path: str = ""
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(12)}")
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    key: str = ""
    stream: bool = False
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: list[str] = field(default_factory=list)
    first_token_seconds: float | None = None
    prompt: Any = None
    answer: Any = None
    error: str | None = None


class RequestLog:
    """Writes one line for each request.

    Args:
        as_json: One JSON object a line; otherwise a line for people.
        with_text: Include prompts and answers.
        styled: Lines for people have colours.
        write: Takes a line, without its newline.
    """

    def __init__(
        self, *, as_json: bool = True, with_text: bool = False, styled: bool = False, write: Write | None = None
    ) -> None:
        self.with_text = with_text
        self._as_json = as_json
        self._styled = styled
        self._write = write or _write_to_stderr

    def request(self, record: RequestRecord) -> None:
        """Write the line of a request that has ended."""
        seconds = time.perf_counter() - record.started
        self._write(self._json(record, seconds) if self._as_json else self._line(record, seconds))

    def describe(self, error: ApiError) -> str:
        """Return an error for the log. Its message may repeat what the client sent, so it counts as text."""
        return error.message if self.with_text else " ".join(filter(None, (error.code, error.param)))

    def bug(self, record: RequestRecord, error: BaseException) -> None:
        """Write the traceback of an error that should not happen."""
        trace = "".join(traceback.format_exception(error))
        if self._as_json:
            self._write(json.dumps({"time": _now(), "level": "error", "id": record.id, "traceback": trace}))
        else:
            self._write(trace.rstrip("\n"))

    def _json(self, record: RequestRecord, seconds: float) -> str:
        line: dict[str, Any] = {
            "time": _now(),
            "level": "error" if record.status == 500 else "info",
            "id": record.id,
            "method": record.method,
            "path": record.path,
            "status": record.status,
            "seconds": round(seconds, 6),
        }
        if record.key:
            line["key"] = record.key
        if record.prompt_tokens is not None:
            line |= {
                "stream": record.stream,
                "prompt_tokens": record.prompt_tokens,
                "cached_tokens": record.cached_tokens,
                "completion_tokens": record.completion_tokens,
                "finish_reasons": record.finish_reasons,
            }
        if record.first_token_seconds is not None:
            line["first_token_seconds"] = round(record.first_token_seconds, 6)
        if record.error is not None:
            line["error"] = record.error
        if self.with_text and record.prompt is not None:
            line |= {"prompt": record.prompt, "answer": record.answer}
        return json.dumps(line)

    def _line(self, record: RequestRecord, seconds: float) -> str:
        colour = _GREEN if record.status < 400 else _YELLOW if record.status < 500 else _RED
        status = f"{colour}{record.status}{_PLAIN}" if self._styled else str(record.status)
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        parts = [f"{_DIM}{clock}{_PLAIN}" if self._styled else clock, status, record.method, _printable(record.path)]
        parts.append(f"{seconds * 1000:.0f} ms")
        if record.prompt_tokens is not None:
            cached = f" ({record.cached_tokens} cached)" if record.cached_tokens else ""
            parts.append(f"{record.prompt_tokens} tokens in{cached}, {record.completion_tokens} out")
        if record.finish_reasons:
            parts.append("/".join(sorted(set(record.finish_reasons))))
        if record.error is not None:
            parts.append(_printable(record.error))
        if self.with_text and record.prompt is not None:
            parts += [f"prompt {record.prompt!r}", f"answer {record.answer!r}"]
        return "  ".join(parts)


def _printable(text: str) -> str:
    """Return text that cannot change a terminal: without control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _write_to_stderr(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # if nobody reads the log any more, the server goes on
        print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)
