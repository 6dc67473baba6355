"""Pieces of generated text: streaming decode, stop strings, timings. The engine makes a piece of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.tokenizer import StreamDecoder, Tokenizer

FinishReason = Literal["stop", "length", "timeout", "cancelled"]
"""Why a text ends: an end-of-text token, stop id or stop string; a limit on tokens; a limit on time; another thread."""


@dataclass(frozen=True, slots=True)
class Timings:
    """The tokens and the wall time of a request.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        reused_tokens: Tokens of the prompt that were already in the cache.
        generated_tokens: Generated tokens, up to and including the end-of-text token or the token that completes a
            stop string.
        first_token_seconds: Time from the request to its first token, including the wait for a place in the batch.
        decode_seconds: Time from the first token to the last.
        queue_seconds: The part of `first_token_seconds` that the request waited for a place in the batch.
    """

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    first_token_seconds: float
    decode_seconds: float
    queue_seconds: float = 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Speed after the first token; 0 if there was no second one."""
        return (self.generated_tokens - 1) / self.decode_seconds if self.generated_tokens > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text as it is generated: only whole characters, and no text that may yet become part of a stop string.

    Attributes:
        text: The new text; may be empty.
        token_ids: The tokens generated since the previous piece. The last piece has none if it ends by `timeout` or
            `cancelled`.
        finish_reason: Why the text ends, on the last piece; None on the others.
        logprobs: One entry for each token if the request asks for them; otherwise empty.
        timings: The timings of the request on the last piece; None on the others.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    timings: Timings | None = None


class StopStrings:
    """Ends a stream of text at the first stop string. It holds back text that may be the beginning of one.

    Args:
        strings: The stop strings, none of them empty.

    Attributes:
        found: Whether the text contains a stop string.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Add text to the stream; return the text that is certain to lie before any stop string."""
        self._held += text
        starts = [start for start in (self._held.find(string) for string in self._strings) if start >= 0]
        if starts:
            self.found = True
            return self._held[: min(starts)]
        keep = max((self._overlap(string) for string in self._strings), default=0)
        return self._release(len(self._held) - keep)

    def flush(self) -> str:
        """Return the text held back, when the stream has ended without a stop string."""
        return self._release(len(self._held))

    def _overlap(self, string: str) -> int:
        """Return the length of the longest beginning of a stop string that the held text ends with."""
        longest = min(len(string) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(string[:size])), 0)

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text


class TextStream:
    """The text of one request: decodes its tokens as they come, and ends at the first stop string.

    Args:
        tokenizer: The tokenizer of the model.
        stop: The stop strings.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._decoder = StreamDecoder(tokenizer, continues=True)
        self._stop = StopStrings(stop)

    @property
    def stopped(self) -> bool:
        """Whether the text contains a stop string."""
        return self._stop.found

    def push(self, token_id: int) -> str:
        """Add the next token; return the new text that is certain to lie before any stop string."""
        return self._stop.push(self._decoder.push(token_id))

    def end(self) -> str:
        """End the text; return what was held back. If there is a stop string, that is nothing."""
        if self.stopped:
            return ""
        text = self._stop.push(self._decoder.flush())
        return text if self.stopped else text + self._stop.flush()
