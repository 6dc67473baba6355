"""ModelCard: what a worker tells of its model. Frontends serve from it: they need no file of the model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Self

import tokenizers

from bitnet_tt.model import BitNetModel
from bitnet_tt.server.served_model import ServedModel
from bitnet_tt.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The model of a worker, without its tokenizer.

    Attributes:
        name: The name of the model for clients.
        fingerprint: A digest of all that a text depends on: weights, tokenizer, templates, version of the numerics,
            context length, kind of device and its precision. Workers are equal if their fingerprints are.
        vocab_size: Token ids are below this.
        eos_token_ids: The ids that end a text.
        context_length: Maximum number of tokens of one text, prompt included.
        embedding_size: See `ServedModel`.
        device: What computes it, for people.
        max_batch_size: How many texts the worker computes together.
        blocks: Blocks of its KV cache.
        version: The version of this package.
    """

    name: str
    fingerprint: str
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    context_length: int
    embedding_size: int | None
    device: str
    max_batch_size: int
    blocks: int
    version: str

    @classmethod
    def of(cls, model: BitNetModel, name: str, max_batch_size: int) -> Self:
        """Describe a model that is loaded here. It reads all weights once, for the fingerprint."""
        served = ServedModel.of(model)
        return cls(
            name=name,
            fingerprint=served.fingerprint,
            vocab_size=served.vocab_size,
            eos_token_ids=tuple(sorted(served.eos_token_ids)),
            context_length=served.context_length,
            embedding_size=served.embedding_size,
            device=served.device,
            max_batch_size=max_batch_size,
            blocks=model.engine.stats().blocks,
            version=version("bitnet-tt"),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` made."""
        return cls(**data | {"eos_token_ids": tuple(data["eos_token_ids"])})

    def as_dict(self) -> dict[str, Any]:
        """Return the card as a JSON object."""
        return asdict(self)

    @property
    def pool(self) -> str:
        """The name of Dynamo's component in which all equal workers serve, and no others."""
        return self.fingerprint.replace("_", "-")

    def served_model(self, tokenizer: Tokenizer) -> ServedModel:
        """Return the model for the server of a frontend."""
        return ServedModel(
            tokenizer=tokenizer,
            vocab_size=self.vocab_size,
            eos_token_ids=frozenset(self.eos_token_ids),
            context_length=self.context_length,
            embedding_size=self.embedding_size,
            device=self.device,
            fingerprint=self.fingerprint,
        )


def tokenizer_to_json(tokenizer: Tokenizer) -> str:
    """Return a tokenizer as JSON, whatever files it was read from."""
    return json.dumps(
        {
            "engine": tokenizer.engine.to_str(),
            "encode_special_tokens": tokenizer.engine.encode_special_tokens,
            "bos_token": tokenizer.bos_token,
            "eos_tokens": tokenizer.eos_tokens,
            "other_tokens": tokenizer.other_tokens,
            "chat_templates": tokenizer.chat_templates,
        }
    )


def tokenizer_from_json(text: str) -> Tokenizer:
    """Return the tokenizer that `tokenizer_to_json` wrote."""
    data = json.loads(text)
    engine = tokenizers.Tokenizer.from_str(data.pop("engine"))
    engine.encode_special_tokens = data.pop("encode_special_tokens")
    return Tokenizer(engine, **data)
