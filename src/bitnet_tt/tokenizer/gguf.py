"""The tokenizer inside a GGUF file: `tokenizer.*` metadata, both ways (ggml-org/ggml, docs/gguf.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import bpe
from bitnet_tt.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_QWEN2_PATTERN = bpe.LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
_PATTERNS = {
    "llama-bpe": (bpe.LLAMA3_PATTERN,),
    "gpt-2": (bpe.GPT2_PATTERN,),
    "qwen2": (_QWEN2_PATTERN,),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", bpe.GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"),
}
_ALIASES = dict.fromkeys(("llama3", "llama-v3", "falcon3", "falcon-h1"), "llama-bpe")
_TEMPLATE = "tokenizer.chat_template"
_WHOLE_FILE = "tokenizer.huggingface.json"
_BYTE_PIECES = {f"<0x{byte:02X}>" for byte in range(256)}


def from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that a GGUF file's metadata describes.

    bitnet.cpp writes no `tokenizer.ggml.pre` for 2B4T; a vocabulary with Llama 3's special tokens is then read as
    Llama 3 cuts words, as the model was trained, and not as llama.cpp falls back to.

    Raises:
        TokenizerError: A field is missing or of the wrong kind, or the tokenizer is of a kind not supported.
    """
    try:
        return _from_metadata(metadata)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(f"the tokenizer metadata of this GGUF file is damaged: {error}") from error


def to_metadata(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """Describe a tokenizer as GGUF metadata; `from_metadata` and llama.cpp read it back.

    Where GGUF has no name for the way a tokenizer cuts text into words, its whole tokenizer.json goes along, which
    `from_metadata` reads; llama.cpp then cuts words in its default way, and some text gets other ids there.

    Args:
        tokenizer: A byte-level or sentencepiece BPE tokenizer.
        vocab_size: Rows of the model's embedding; ids without a token become unused ones.

    Raises:
        TokenizerError: It is of another kind, or ids go past `vocab_size`.
    """
    model = json.loads(tokenizer.engine.model.__getstate__())
    if model["type"] != "BPE":
        raise TokenizerError(f"GGUF files hold BPE tokenizers; this one is {model['type']}")
    added = tokenizer.engine.get_added_tokens_decoder()
    vocab = model["vocab"] | {token.content: token_id for token_id, token in added.items()}
    if max(vocab.values()) >= vocab_size:
        raise TokenizerError(f"token id {max(vocab.values())} is past the model's vocabulary of {vocab_size}")
    tokens = [f"[PAD{token_id}]" for token_id in range(vocab_size)]
    types = [TokenType.UNUSED] * vocab_size
    for token, token_id in vocab.items():
        tokens[token_id] = token
        types[token_id] = TokenType.NORMAL
    for token_id, token in added.items():
        types[token_id] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]

    metadata: dict[str, Any] = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.add_bos_token": tokenizer.add_bos}
    if tokenizer.token_bytes.byte_level:
        pre = _name_patterns(tokenizer.engine)
        if pre is None:
            metadata[_WHOLE_FILE] = tokenizer.engine.to_str()
        metadata |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": pre or "default",
            "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        }
    else:
        _mark_pieces(types, vocab, model["unk_token"])
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
        metadata[_TEMPLATE if name == "default" else f"{_TEMPLATE}.{name}"] = template
    return metadata


def _from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import AddedToken

    kind = metadata.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise TokenizerError(f"tokenizer.ggml.model is {kind!r}; 'gpt2' and 'llama' are supported")
    tokens = _strings(metadata, "tokens")
    types = [int(kind) for kind in metadata.get("tokenizer.ggml.token_type", [TokenType.NORMAL] * len(tokens))]
    if len(types) != len(tokens):
        raise TokenizerError("tokenizer.ggml.token_type and tokens differ in length")
    pre = _pre_tokenizer(metadata, tokens) if kind == "gpt2" else None
    if _WHOLE_FILE in metadata:
        engine = bpe.load_engine(str(metadata[_WHOLE_FILE]).encode(), _WHOLE_FILE)
    elif pre is not None:
        engine = _byte_level(metadata, tokens, pre)
    else:
        engine = _sentencepiece(metadata, tokens, types)
    for kept, add in ((TokenType.CONTROL, engine.add_special_tokens), (TokenType.USER_DEFINED, engine.add_tokens)):
        add([AddedToken(token, normalized=False) for token, found in zip(tokens, types, strict=True) if found == kept])
    bos, eos, eot = (_token(metadata, tokens, name) for name in ("bos", "eos", "eot"))
    add_bos = bool(metadata.get("tokenizer.ggml.add_bos_token", pre in (None, "llama-bpe")))
    if bos is not None and add_bos:
        bpe.prepend_bos(engine, bos)
    return Tokenizer(
        engine,
        bos_token=bos,
        eos_tokens=[token for token in (eos, eot) if token is not None],
        add_bos=add_bos,
        chat_templates={
            key.removeprefix(_TEMPLATE).removeprefix(".") or "default": template
            for key, template in metadata.items()
            if (key == _TEMPLATE or key.startswith(_TEMPLATE + ".")) and isinstance(template, str)
        },
    )


def _pre_tokenizer(metadata: Mapping[str, Any], tokens: Sequence[str]) -> str:
    name = metadata.get("tokenizer.ggml.pre")
    if name is None:
        return "llama-bpe" if {"<|begin_of_text|>", "<|eot_id|>"} <= set(tokens) else "default"
    name = _ALIASES.get(name, name)
    if name not in _PATTERNS:
        raise TokenizerError(
            f"tokenizer.ggml.pre is {name!r}; known: {', '.join([*_PATTERNS, *_ALIASES])}. "
            "Use the model's Hugging Face folder instead"
        )
    return str(name)


def _name_patterns(engine: tokenizers.Tokenizer) -> str | None:
    """The GGUF name of the way an engine cuts text into words, or None if there is none."""
    patterns: list[str] = []
    step = json.loads(engine.pre_tokenizer.__getstate__()) if engine.pre_tokenizer is not None else {}
    for part in step.get("pretokenizers", [step]):
        pattern = part.get("pattern", {}).get("Regex", "") if part.get("type") == "Split" else ""
        patterns += [pattern] if pattern else [bpe.GPT2_PATTERN] if part.get("use_regex") else []
    if engine.normalizer is not None:
        return None
    return next((name for name, known in _PATTERNS.items() if known == tuple(patterns)), None)


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str], pre: str) -> tokenizers.Tokenizer:
    merges = [_pair(merge) for merge in _strings(metadata, "merges")]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    try:
        return bpe.byte_level_engine(vocab, merges, _PATTERNS[pre], ignore_merges=pre == "llama-bpe")
    except Exception as error:  # the library raises plain Exception, for a merge of tokens that do not exist
        raise TokenizerError(f"tokenizer.ggml.merges do not fit the tokens: {error}") from error


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> tokenizers.Tokenizer:
    scores = [float(score) for score in metadata.get("tokenizer.ggml.scores", ())]
    if len(scores) != len(tokens):
        raise TokenizerError("tokenizer.ggml.scores and tokens differ in length")
    return bpe.sentencepiece_engine(
        list(zip(tokens, scores, strict=True)),
        [token_id for token_id, kind in enumerate(types) if kind in (TokenType.NORMAL, TokenType.USER_DEFINED)],
        unknown=next((tokens[i] for i, kind in enumerate(types) if kind == TokenType.UNKNOWN), None),
        byte_fallback=TokenType.BYTE in types,
        space_prefix=bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
    )


def _scores(vocab: Mapping[str, int], merges: Sequence[tuple[str, ...]], vocab_size: int) -> list[float]:
    """Scores that order the merges as they are: sentencepiece has one a token, the highest merged first."""
    scores = [0.0] * vocab_size
    order = dict.fromkeys("".join(merge) for merge in merges)
    for rank, token in enumerate(order, start=1):
        scores[vocab[token]] = -float(rank)
    return scores


def _mark_pieces(types: list[TokenType], vocab: Mapping[str, int], unknown: str | None) -> None:
    for piece in _BYTE_PIECES & vocab.keys():
        types[vocab[piece]] = TokenType.BYTE
    if unknown is not None:
        types[vocab[unknown]] = TokenType.UNKNOWN


def _strings(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = metadata.get(f"tokenizer.ggml.{name}")
    if values is None:
        raise TokenizerError(f"tokenizer.ggml.{name} is missing; this GGUF file has no tokenizer inside")
    if any(not isinstance(value, str) for value in values):
        raise TokenizerError(f"tokenizer.ggml.{name} must hold strings")
    return list(values)


def _pair(merge: str) -> tuple[str, str]:
    left, separator, right = merge.partition(" ")
    if not separator:
        raise TokenizerError(f"tokenizer.ggml.merges has {merge!r}, which is not two tokens")
    return left, right


def _token(metadata: Mapping[str, Any], tokens: Sequence[str], name: str) -> str | None:
    token_id = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if token_id is None:
        return None
    if not 0 <= token_id < len(tokens):
        raise TokenizerError(f"tokenizer.ggml.{name}_token_id is {token_id}, past the {len(tokens)} tokens")
    return str(tokens[token_id])
