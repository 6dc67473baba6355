"""Read the tokenizer inside a GGUF file from its `tokenizer.*` metadata (ggml-org/ggml, docs/gguf.md)."""

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
    """The values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


TEMPLATE_KEY = "tokenizer.chat_template"
"""The key of the default template. Other templates have the key `tokenizer.chat_template.NAME`."""

TOKENIZER_JSON_KEY = "tokenizer.huggingface.json"
"""The key of a whole tokenizer.json. If a file has it, it is used instead of the tokens and merges."""

WORD_PATTERNS = {
    "llama-bpe": (bpe.LLAMA3_PATTERN,),
    "gpt-2": (bpe.GPT2_PATTERN,),
    "qwen2": (bpe.LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", bpe.GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"),
}
"""Regular expressions that split text into words, by their `tokenizer.ggml.pre` (llama.cpp, llama-vocab.cpp)."""

_DAMAGED = "the file is damaged: download it again"
_ALIASES = dict.fromkeys(("llama3", "llama-v3", "falcon3", "falcon-h1"), "llama-bpe")


def from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that a GGUF file's metadata describes.

    bitnet.cpp's files of 2B4T have no `tokenizer.ggml.pre`. llama.cpp then splits words in its default way. This
    function splits them as Llama 3 does, if the vocabulary has Llama 3's special tokens: the model was trained so.

    Raises:
        TokenizerError: A field is missing or has the wrong type, or this kind of tokenizer is not supported.
    """
    try:
        return _from_metadata(metadata)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(
            f"the tokenizer metadata of this GGUF file is damaged ({error}): download it again"
        ) from error


def _from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    kind = metadata.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise TokenizerError(
            f"tokenizer.ggml.model is {kind!r}; only 'gpt2' and 'llama' are supported. "
            "Use the model's Hugging Face folder instead"
        )
    tokens = _strings(metadata, "tokens")
    types = [int(kind) for kind in metadata.get("tokenizer.ggml.token_type", [TokenType.NORMAL] * len(tokens))]
    if len(types) != len(tokens):
        raise TokenizerError(f"tokenizer.ggml.token_type and tokens differ in length; {_DAMAGED}")
    pre_tokenizer = _pre_tokenizer(metadata, tokens) if kind == "gpt2" else None
    engine = _engine(metadata, tokens, types, pre_tokenizer)
    bos, eos, end_of_turn = (_token(metadata, tokens, name) for name in ("bos", "eos", "eot"))
    add_bos = bool(metadata.get("tokenizer.ggml.add_bos_token", pre_tokenizer in (None, "llama-bpe")))
    bpe.surround(engine, bos if add_bos else None, None)
    return Tokenizer(
        engine,
        bos_token=bos,
        eos_tokens=[token for token in (eos, end_of_turn) if token is not None],
        chat_templates=_chat_templates(metadata),
    )


def _engine(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], pre_tokenizer: str | None
) -> tokenizers.Tokenizer:
    """Build the engine with its added tokens; `pre_tokenizer` is None for sentencepiece."""
    from tokenizers import AddedToken

    if TOKENIZER_JSON_KEY in metadata:
        return bpe.load_engine(str(metadata[TOKENIZER_JSON_KEY]).encode(), TOKENIZER_JSON_KEY)
    if pre_tokenizer is not None:
        engine = _byte_level(metadata, tokens, pre_tokenizer)
    else:
        engine = _sentencepiece(metadata, tokens, types)
    special, ordinary = {TokenType.CONTROL, TokenType.UNKNOWN}, {TokenType.USER_DEFINED}
    for wanted, add in ((special, engine.add_special_tokens), (ordinary, engine.add_tokens)):
        add([AddedToken(token, normalized=False) for token, kind in zip(tokens, types, strict=True) if kind in wanted])
    return engine


def _pre_tokenizer(metadata: Mapping[str, Any], tokens: Sequence[str]) -> str:
    """Return the key of `WORD_PATTERNS` for a byte-level tokenizer."""
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


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str], pre_tokenizer: str) -> tokenizers.Tokenizer:
    merges = [_pair(merge) for merge in _strings(metadata, "merges")]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    patterns, ignore_merges = WORD_PATTERNS[pre_tokenizer], pre_tokenizer == "llama-bpe"
    try:
        return bpe.byte_level_engine(vocab, merges, patterns, ignore_merges=ignore_merges)
    except Exception as error:  # the library raises plain Exception for a merge of tokens that do not exist
        raise TokenizerError(f"tokenizer.ggml.merges do not fit the tokens ({error}); {_DAMAGED}") from error


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> tokenizers.Tokenizer:
    scores = [float(score) for score in metadata.get("tokenizer.ggml.scores", ())]
    if len(scores) != len(tokens):
        raise TokenizerError(f"tokenizer.ggml.scores and tokens differ in length; {_DAMAGED}")
    return bpe.sentencepiece_engine(
        list(zip(tokens, scores, strict=True)),
        [token_id for token_id, kind in enumerate(types) if kind in (TokenType.NORMAL, TokenType.USER_DEFINED)],
        unknown=next((token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.UNKNOWN), None),
        byte_fallback=TokenType.BYTE in types,
        space_prefix=bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
    )


def _chat_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {
        key.removeprefix(TEMPLATE_KEY).removeprefix(".") or "default": template
        for key, template in metadata.items()
        if (key == TEMPLATE_KEY or key.startswith(TEMPLATE_KEY + ".")) and isinstance(template, str)
    }


def _strings(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = metadata.get(f"tokenizer.ggml.{name}")
    if values is None:
        raise TokenizerError(
            f"tokenizer.ggml.{name} is missing: this GGUF file has no complete tokenizer. "
            "Use the model's Hugging Face folder instead"
        )
    if any(not isinstance(value, str) for value in values):
        raise TokenizerError(f"tokenizer.ggml.{name} must hold strings; {_DAMAGED}")
    return list(values)


def _pair(merge: str) -> tuple[str, str]:
    left, separator, right = merge.partition(" ")
    if not separator:
        raise TokenizerError(f"tokenizer.ggml.merges has {merge!r}, which is not two tokens; {_DAMAGED}")
    return left, right


def _token(metadata: Mapping[str, Any], tokens: Sequence[str], name: str) -> str | None:
    """Return the token of `tokenizer.ggml.NAME_token_id`."""
    token_id = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if token_id is None:
        return None
    if not 0 <= token_id < len(tokens):
        raise TokenizerError(f"tokenizer.ggml.{name}_token_id is {token_id}, past the {len(tokens)} tokens; {_DAMAGED}")
    return str(tokens[token_id])
