"""Turn the engine's tokens into pieces of text: streaming decode, stop strings, timings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitnet_tt.engine import Engine, FinishReason, Request
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True, slots=True)
class Timings:
    """The tokens and the wall time of a request.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        reused_tokens: Tokens of the prompt that were already in the cache.
        generated_tokens: Generated tokens, the end-of-text token included.
        first_token_seconds: Time from the request to its first token, including the wait for a place in the batch.
        decode_seconds: Time from the first token to the last.
    """

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    first_token_seconds: float
    decode_seconds: float

    @property
    def decode_tokens_per_second(self) -> float:
        """Speed after the first token; 0 if there was no second one."""
        return (self.generated_tokens - 1) / self.decode_seconds if self.generated_tokens > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text as it is generated: only whole characters, and no text that may yet become part of a stop string.

    Attributes:
        text: The new text; may be empty.
        token_ids: The tokens generated since the previous piece.
        finish_reason: `stop` or `length` on the last piece; None on the others.
        logprobs: One entry for each token if the request asks for them; otherwise empty.
        timings: The timings of the request on the last piece; None on the others.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    timings: Timings | None = None


def pieces(engine: Engine, request: Request, tokenizer: Tokenizer) -> Iterator[Piece]:
    """Run a request and yield its text as it is generated. Only the last piece has a finish reason."""
    decoder = StreamDecoder(tokenizer, continues=True)
    stop = StopStrings(request.config.stop or ())
    outputs = engine.outputs(request)
    try:
        for output in outputs:
            ended_by_token = output.finish_reason == "stop"
            text = "" if ended_by_token else decoder.push(output.token_id)
            if output.finish_reason is not None:
                text += decoder.flush()
            text = stop.push(text)
            reason: FinishReason | None = "stop" if stop.found else output.finish_reason
            if output.finish_reason is not None and not stop.found:
                text += stop.flush()
            yield Piece(
                text=text,
                token_ids=(output.token_id,),
                finish_reason=reason,
                logprobs=(output.logprob,) if output.logprob else (),
                timings=_timings(request) if reason else None,
            )
            if reason:
                return
    finally:
        outputs.close()


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


def _timings(request: Request) -> Timings:
    ended_at = request.finished_at or time.perf_counter()  # a stop string ends the text before the engine does
    return Timings(
        prompt_tokens=len(request.prompt),
        reused_tokens=request.reused,
        generated_tokens=request.generated,
        first_token_seconds=request.first_token_at - request.submitted_at,
        decode_seconds=ended_at - request.first_token_at,
    )
