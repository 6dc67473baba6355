"""Describe a tokenizer as the `tokenizer.*` metadata of a GGUF file (ggml-org/ggml, docs/gguf.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.gguf import TokenType
from bitnet_tt.tokenizer.gguf_keys import TEMPLATE_KEY, TOKENIZER_JSON_KEY
from bitnet_tt.tokenizer.gguf_words import pre_tokenizer_name
from bitnet_tt.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

_BYTE_PIECES = {f"<0x{byte:02X}>" for byte in range(256)}


def to_metadata(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """Describe a tokenizer as GGUF metadata, for `gguf.read_tokenizer` and for llama.cpp.

    GGUF has names for a few ways to split text into words. For a tokenizer that splits in another way, the metadata
    also hold its whole tokenizer.json, which `gguf.read_tokenizer` reads. llama.cpp does not read it and splits words
    in the way that is named, so that it gives some texts other ids.

    Args:
        tokenizer: A byte-level or sentencepiece BPE tokenizer.
        vocab_size: Number of rows of the model's embedding. Ids without a token get an unused one.

    Raises:
        TokenizerError: The tokenizer is of another kind, or has ids that are not below `vocab_size`.
    """
    model = json.loads(tokenizer.engine.model.__getstate__())
    if model["type"] != "BPE":
        raise TokenizerError(
            f"GGUF files hold BPE tokenizers; this one is {model['type']}: write packed safetensors instead"
        )
    added = tokenizer.engine.get_added_tokens_decoder()
    vocab = model["vocab"] | {token.content: token_id for token_id, token in added.items()}
    if max(vocab.values()) >= vocab_size:
        raise TokenizerError(
            f"token id {max(vocab.values())} is past the model's vocabulary of {vocab_size}; "
            "take the tokenizer from the model's original repository"
        )
    tokens = [f"[PAD{token_id}]" for token_id in range(vocab_size)]
    types = [TokenType.UNUSED] * vocab_size
    for token, token_id in vocab.items():
        tokens[token_id] = token
        types[token_id] = TokenType.NORMAL
    for token_id, token in added.items():
        types[token_id] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]

    metadata: dict[str, Any] = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.add_bos_token": tokenizer.add_bos,
        "tokenizer.ggml.add_eos_token": tokenizer.add_eos,
    }
    if tokenizer.token_bytes.byte_level:
        metadata |= _byte_level(tokenizer.engine, model, merges)
    else:
        _set_piece_types(types, vocab, model["unk_token"])
        if tokenizer.engine.pre_tokenizer is not None or _has_flags(tokenizer.engine):
            metadata[TOKENIZER_JSON_KEY] = tokenizer.engine.to_str()
        metadata |= {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.add_space_prefix": tokenizer.token_bytes.strip_space,
            "tokenizer.ggml.scores": _scores(vocab, merges, vocab_size),
        }
    metadata["tokenizer.ggml.token_type"] = [int(kind) for kind in types]
    if tokenizer.bos_token_id is not None:
        metadata["tokenizer.ggml.bos_token_id"] = tokenizer.bos_token_id
    if tokenizer.eos_token_ids:
        metadata["tokenizer.ggml.eos_token_id"] = tokenizer.eos_token_ids[0]
    for name, template in tokenizer.chat_templates.items():
        metadata[TEMPLATE_KEY if name == "default" else f"{TEMPLATE_KEY}.{name}"] = template
    return metadata


def _has_flags(engine: tokenizers.Tokenizer) -> bool:
    """Whether an added token matches in a way that GGUF has no name for."""
    added = engine.get_added_tokens_decoder().values()
    normalized = engine.normalizer is not None
    return any(t.single_word or t.lstrip or t.rstrip or (t.normalized and normalized) for t in added)


def _byte_level(
    engine: tokenizers.Tokenizer, model: Mapping[str, Any], merges: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    name, exact = pre_tokenizer_name(engine, model)
    return ({} if exact else {TOKENIZER_JSON_KEY: engine.to_str()}) | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
    }


def _scores(vocab: Mapping[str, int], merges: Sequence[tuple[str, ...]], vocab_size: int) -> list[float]:
    """Return a score for each token that puts the merges in their order. The highest score is merged first."""
    scores = [0.0] * vocab_size
    order = dict.fromkeys("".join(merge) for merge in merges)
    for rank, token in enumerate(order, start=1):
        scores[vocab[token]] = -float(rank)
    return scores


def _set_piece_types(types: list[TokenType], vocab: Mapping[str, int], unknown: str | None) -> None:
    """Set the types of sentencepiece's byte pieces and of its unknown piece."""
    for piece in _BYTE_PIECES & vocab.keys():
        types[vocab[piece]] = TokenType.BYTE
    if unknown is not None:
        types[vocab[unknown]] = TokenType.UNKNOWN
