"""From the engine's tokens to pieces of text: streaming decode, stop strings, timings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitnet_tt.engine import Engine, FinishReason, Request
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True, slots=True)
class Timings:
    """What a request took. Seconds are wall time; first token and prefill include waiting for a place in the batch.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        reused_tokens: Those of them that were in the cache already.
        generated_tokens: Tokens generated, the end-of-text token included.
        first_token_seconds: From the request to its first token.
        decode_seconds: From the first token to the last.
    """

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    first_token_seconds: float
    decode_seconds: float

    @property
    def decode_tokens_per_second(self) -> float:
        """Speed after the first token; 0 when there was no second."""
        return (self.generated_tokens - 1) / self.decode_seconds if self.generated_tokens > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text as it is generated: whole characters, and nothing that may turn out to belong to a stop string.

    Attributes:
        text: The new text; may be empty.
        token_ids: The tokens that came with it.
        finish_reason: On the last piece `stop` or `length`; else None.
        logprobs: One entry a token, if asked for.
        timings: On the last piece.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    timings: Timings | None = None


def pieces(engine: Engine, request: Request, tokenizer: Tokenizer) -> Iterator[Piece]:
    """Text of a request as it comes; the last piece, and only it, has a finish reason."""
    decoder = StreamDecoder(tokenizer, continues=True)
    stop = StopStrings(request.config.stop)
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
    """Cuts a stream of text at the first stop string, holding back what may be the beginning of one."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Text that is certain to come before any stop string."""
        self._held += text
        cuts = [cut for cut in (self._held.find(string) for string in self._strings) if cut >= 0]
        if cuts:
            self.found = True
            return self._held[: min(cuts)]
        keep = max((self._overlap(string) for string in self._strings), default=0)
        return self._release(len(self._held) - keep)

    def flush(self) -> str:
        """The rest, when the text has ended without a stop string."""
        return self._release(len(self._held))

    def _overlap(self, string: str) -> int:
        """Length of the longest beginning of a stop string that the held text ends with."""
        longest = min(len(string) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(string[:size])), 0)

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text


def _timings(request: Request) -> Timings:
    ended_at = request.finished_at or time.perf_counter()  # a stop string ends the text before the engine knows
    return Timings(
        prompt_tokens=len(request.prompt),
        reused_tokens=request.reused,
        generated_tokens=request.generated,
        first_token_seconds=request.first_token_at - request.submitted_at,
        decode_seconds=ended_at - request.first_token_at,
    )
