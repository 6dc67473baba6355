"""Read the tokenizer inside a GGUF file from its `tokenizer.*` metadata (ggml-org/ggml, docs/gguf.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import bpe
from bitnet_tt.tokenizer.gguf_keys import CODE_END_KEYS, END_KEYS, TOKENIZER_JSON_KEY, check_keys
from bitnet_tt.tokenizer.gguf_templates import chat_templates
from bitnet_tt.tokenizer.gguf_words import ALIASES, WHOLE_WORD_NAMES, WORD_PATTERNS
from bitnet_tt.tokenizer.parts import TokenizerParts

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


_DAMAGED = "the file is damaged: download it again"
_OTHER_KINDS = {"t5": "Unigram", "bert": "WordPiece", "rwkv": "RWKV", "plamo2": "PLaMo-2"}
_OTHER_KINDS |= dict.fromkeys(("none", "no_vocab"), "no tokenizer")


def read_tokenizer(metadata: Mapping[str, Any]) -> TokenizerParts:
    """Read the tokenizer that a GGUF file's metadata describes.

    bitnet.cpp's files of 2B4T have no `tokenizer.ggml.pre`. llama.cpp then splits words in its default way. This
    function splits them as Llama 3 does, if the vocabulary has Llama 3's special tokens: the model was trained so.

    Raises:
        TokenizerError: A field is missing or has the wrong type, or this kind of tokenizer is not supported.
    """
    try:
        return _read_tokenizer(metadata)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(
            f"the tokenizer metadata of this GGUF file is damaged ({error}): download it again"
        ) from error


def _read_tokenizer(metadata: Mapping[str, Any]) -> TokenizerParts:
    kind = metadata.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        meaning = f" ({_OTHER_KINDS[str(kind)]})" if str(kind) in _OTHER_KINDS else ""
        raise TokenizerError(
            f"tokenizer.ggml.model is {kind!r}{meaning}; only 'gpt2' and 'llama' are supported. "
            "Use the model's Hugging Face folder instead"
        )
    check_keys(metadata)
    tokens = [token or f"[EMPTY_{token_id}]" for token_id, token in enumerate(_strings(metadata, "tokens"))]
    if len(set(tokens)) != len(tokens):
        repeated = next(token for token in tokens if tokens.count(token) > 1)
        raise TokenizerError(f"tokenizer.ggml.tokens has {repeated!r} twice; {_DAMAGED}")
    types = [int(kind) for kind in metadata.get("tokenizer.ggml.token_type", [TokenType.NORMAL] * len(tokens))]
    if len(types) != len(tokens):
        raise TokenizerError(f"tokenizer.ggml.token_type and tokens differ in length; {_DAMAGED}")
    pre_tokenizer = _pre_tokenizer(metadata, tokens) if kind == "gpt2" else None
    engine = _engine(metadata, tokens, types, pre_tokenizer)
    bos, eos = (_token(metadata, tokens, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    ends = [_token(metadata, tokens, key) for key in (*END_KEYS, *CODE_END_KEYS)]
    before = bos if _flag(metadata, "add_bos_token", default=pre_tokenizer in (None, "llama-bpe")) else None
    after = eos if _flag(metadata, "add_eos_token", default=False) else None
    if TOKENIZER_JSON_KEY not in metadata or (before is None) == bool(bpe.tokens_around(engine)[0]):
        bpe.surround(engine, before, after)
    return TokenizerParts(
        engine=engine,
        bos_token=bos,
        other_tokens={},
        eos_tokens=[token for token in ends if token is not None],
        chat_templates=chat_templates(metadata, tokens),
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
    # Adding a token of the whole file again would change its rules.
    known = {token.content for token in engine.get_added_tokens_decoder().values()}
    special, ordinary = {TokenType.CONTROL, TokenType.UNKNOWN}, {TokenType.USER_DEFINED}
    for wanted, add in ((special, engine.add_special_tokens), (ordinary, engine.add_tokens)):
        pairs = zip(tokens, types, strict=True)
        add([AddedToken(token, normalized=False) for token, kind in pairs if kind in wanted and token not in known])
    return engine


def _pre_tokenizer(metadata: Mapping[str, Any], tokens: Sequence[str]) -> str:
    """Return the key of `WORD_PATTERNS` for a byte-level tokenizer."""
    name = metadata.get("tokenizer.ggml.pre")
    if name is None:
        return "llama-bpe" if {"<|begin_of_text|>", "<|eot_id|>"} <= set(tokens) else "default"
    name = ALIASES.get(name, name)
    if name not in WORD_PATTERNS and TOKENIZER_JSON_KEY in metadata:
        return "default"  # the whole file splits words in its own way
    if name not in WORD_PATTERNS:
        raise TokenizerError(
            f"tokenizer.ggml.pre is {name!r}; known: {', '.join([*WORD_PATTERNS, *ALIASES])}. "
            "Use the model's Hugging Face folder instead"
        )
    return str(name)


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str], pre_tokenizer: str) -> tokenizers.Tokenizer:
    merges = [_pair(merge) for merge in _strings(metadata, "merges")]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    patterns, ignore_merges = WORD_PATTERNS[pre_tokenizer], pre_tokenizer in WHOLE_WORD_NAMES
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
        space_prefix=_flag(metadata, "add_space_prefix", default=True),
    )


def _flag(metadata: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, bool):
        raise TokenizerError(f"tokenizer.ggml.{name} must be true or false, not {value!r:.80}; {_DAMAGED}")
    return value


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


def _token(metadata: Mapping[str, Any], tokens: Sequence[str], key: str) -> str | None:
    """Return the token whose id a key gives, or None if the file does not have the key."""
    token_id = metadata.get(key)
    if token_id is None:
        return None
    if type(token_id) is not int or not 0 <= token_id < len(tokens):
        raise TokenizerError(
            f"{key} is {token_id!r:.80}, which is not the id of one of {len(tokens)} tokens; {_DAMAGED}"
        )
    return tokens[token_id]
