"""What frontends and workers send each other: JSON texts, so that every float arrives with its own bits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import BitNetError, DeviceError, RequestError
from bitnet_tt.generation import FinishReason, Piece
from bitnet_tt.sampling import TokenLogprob

ALIVE = "{}"
"""A worker says this while it has no news, so that a slow first token differs from a worker that hangs."""

LEAVING = '{"leaving":true}'
"""A worker says this when it is to end: the text must go on elsewhere."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A text to continue.

    Attributes:
        prompt: Token ids.
        resumed: The tokens that were generated already.
        config: How to pick tokens and when to stop. The seed is given.
        choice, cache_key: See `RequestOptions`.
        grammar: `Grammar.source`; None allows all texts.
    """

    prompt: Sequence[int]
    resumed: Sequence[int]
    config: GenerationConfig
    choice: int = 0
    cache_key: str = ""
    grammar: str | None = None

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the object of `to_json`."""
        return cls(**data | {"config": GenerationConfig(**data["config"])})


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A text to score.

    Attributes:
        tokens: The text.
        top: How many of the most probable tokens to report at each position.
        cache_key: As in `TextRequest`.
    """

    tokens: Sequence[int]
    top: int
    cache_key: str = ""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A text to embed.

    Attributes:
        embedded: Its tokens.
        cache_key: As in `TextRequest`.
    """

    embedded: Sequence[int]
    cache_key: str = ""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))


def request_from_json(text: str) -> TextRequest | ScoreRequest | EmbeddingRequest:
    """Read the JSON of any request."""
    data = json.loads(text)
    if "prompt" in data:
        return TextRequest.from_dict(data)
    return EmbeddingRequest(**data) if "embedded" in data else ScoreRequest(**data)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a worker answers, many times for a request.

    Attributes:
        pieces: New pieces of the text, without timings.
        reused_tokens: How many tokens of the text were in the worker's cache.
        queue_seconds: How long the text waited for a place in the worker's batch.
        scores: The scores of a text; None if it is not a score.
        embedding: The embedding of a text; None if none was asked for.
        error: What is wrong with the request, or with the model; None if nothing is.
        leaving: Whether the worker ends.
    """

    pieces: Sequence[Piece] = ()
    reused_tokens: int = 0
    queue_seconds: float = 0.0
    scores: Sequence[TokenLogprob] | None = None
    embedding: Sequence[float] | None = None
    error: BitNetError | None = None
    leaving: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole answer: scores or an embedding."""
        return self.scores is not None or self.embedding is not None

    def to_json(self) -> str:
        """Return the frame as JSON, without what has its default value."""
        data: dict[str, Any] = {}
        if self.pieces:
            data["pieces"] = [
                (piece.text, piece.token_ids, piece.finish_reason, list(map(_logprob_to_json, piece.logprobs)))
                for piece in self.pieces
            ]
            data |= {"reused_tokens": self.reused_tokens, "queue_seconds": self.queue_seconds}
        if self.scores is not None:
            data["scores"] = list(map(_logprob_to_json, self.scores))
        if self.embedding is not None:
            data["embedding"] = self.embedding
        if self.error is not None:
            kind = "request" if isinstance(self.error, RequestError) else "device"
            data["error"] = {"kind": kind, "message": str(self.error)}
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` made, `ALIVE` or `LEAVING`."""
        data = json.loads(text)
        if pieces := data.get("pieces"):
            data["pieces"] = [_piece_from_json(*piece) for piece in pieces]
        if "scores" in data:
            data["scores"] = list(map(_logprob_from_json, data["scores"]))
        if "error" in data:
            kind = RequestError if data["error"]["kind"] == "request" else DeviceError
            data["error"] = kind(data["error"]["message"])
        return cls(**data)


def _piece_from_json(text: str, token_ids: list[int], finish_reason: FinishReason | None, logprobs: list[Any]) -> Piece:
    return Piece(text, tuple(token_ids), finish_reason, tuple(map(_logprob_from_json, logprobs)))


def _logprob_to_json(one: TokenLogprob) -> tuple[int, float, Sequence[tuple[int, float]]]:
    return one.token_id, one.logprob, one.top


def _logprob_from_json(data: tuple[int, float, list[tuple[int, float]]]) -> TokenLogprob:
    token_id, logprob, top = data
    return TokenLogprob(token_id, logprob, tuple((other, value) for other, value in top))
