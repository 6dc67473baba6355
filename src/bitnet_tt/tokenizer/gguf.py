"""The tokenizer inside a GGUF file: `tokenizer.*` metadata, both ways (ggml-org/ggml, docs/gguf.md)."""

from __future__ import annotations

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
WORD_PATTERNS = {
    "llama-bpe": (bpe.LLAMA3_PATTERN,),
    "gpt-2": (bpe.GPT2_PATTERN,),
    "qwen2": (_QWEN2_PATTERN,),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", bpe.GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"),
}
_ALIASES = dict.fromkeys(("llama3", "llama-v3", "falcon3", "falcon-h1"), "llama-bpe")
TEMPLATE_KEY = "tokenizer.chat_template"
TOKENIZER_JSON_KEY = "tokenizer.huggingface.json"


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
    if TOKENIZER_JSON_KEY in metadata:
        engine = bpe.load_engine(str(metadata[TOKENIZER_JSON_KEY]).encode(), TOKENIZER_JSON_KEY)
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
            key.removeprefix(TEMPLATE_KEY).removeprefix(".") or "default": template
            for key, template in metadata.items()
            if (key == TEMPLATE_KEY or key.startswith(TEMPLATE_KEY + ".")) and isinstance(template, str)
        },
    )


def _pre_tokenizer(metadata: Mapping[str, Any], tokens: Sequence[str]) -> str:
    name = metadata.get("tokenizer.ggml.pre")
    if name is None:
        return "llama-bpe" if {"<|begin_of_text|>", "<|eot_id|>"} <= set(tokens) else "default"
    name = _ALIASES.get(name, name)
    if name not in WORD_PATTERNS:
        raise TokenizerError(
            f"tokenizer.ggml.pre is {name!r}; known: {', '.join([*WORD_PATTERNS, *_ALIASES])}. "
            "Use the model's Hugging Face folder instead"
        )
    return str(name)


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str], pre: str) -> tokenizers.Tokenizer:
    merges = [_pair(merge) for merge in _strings(metadata, "merges")]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    try:
        return bpe.byte_level_engine(vocab, merges, WORD_PATTERNS[pre], ignore_merges=pre == "llama-bpe")
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
