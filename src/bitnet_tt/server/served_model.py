"""ServedModel: what the server needs to know about a model. The weights may be on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from bitnet_tt.model import BitNetModel
from bitnet_tt.server.fingerprint import system_fingerprint
from bitnet_tt.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as its clients see it.

    Attributes:
        tokenizer: Converts text to token ids and back.
        vocab_size: Token ids are below this.
        eos_token_ids: The ids that end a text.
        context_length: Maximum number of tokens of one text, prompt included.
        embedding_size: How many numbers the embedding of a text has. None if the model writes text instead.
        device: What computes it, for people.
        fingerprint: Equal fingerprints, requests and seeds give equal bytes.
    """

    tokenizer: Tokenizer
    vocab_size: int
    eos_token_ids: frozenset[int]
    context_length: int
    embedding_size: int | None
    device: str
    fingerprint: str

    @classmethod
    def of(cls, model: BitNetModel) -> Self:
        """Describe a model that is loaded here."""
        return cls(
            tokenizer=model.tokenizer,
            vocab_size=model.config.vocab_size,
            eos_token_ids=frozenset(model.config.eos_token_ids) | frozenset(model.tokenizer.eos_token_ids),
            context_length=model.engine.context_length,
            embedding_size=None if model.checkpoint.pooling is None else model.config.hidden_size,
            device=model.backend.description,
            fingerprint=system_fingerprint(model),
        )
