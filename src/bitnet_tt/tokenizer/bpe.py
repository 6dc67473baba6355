"""Parts that BPE vocabularies of every format share: the byte alphabet, merges from ranks, and the engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from bitnet_tt.errors import RequestError, TokenizerError

if TYPE_CHECKING:
    import tokenizers

SPACE = "▁"
"""The character that stands for a space in sentencepiece pieces."""

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PUNCTUATION_PATTERN = r"[\p{P}\$\+<=>\^~\|`]+"
"""Runs of punctuation: Unicode's and all of ASCII's, like the step `Punctuation` of the `tokenizers` library."""


@cache
def byte_alphabet() -> dict[int, str]:
    """Return the printable character for each byte in a byte-level vocabulary (`bytes_to_unicode` of GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + index) for index, byte in enumerate(others)}


def recover_merges(ranks: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the merge rules of a vocabulary that has only ranks, first rule first.

    Tiktoken and sentencepiece merge the two neighbours whose union has the lowest rank, whichever two tokens make the
    union. So every split of a token into two tokens is a rule. Rules are ordered by the rank of the whole token.

    Args:
        ranks: The rank of each mergeable token. Lower ranks are merged first.
    """
    merges: list[tuple[str, str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        splits = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        rules = [pair for pair in splits if pair[0] in ranks and pair[1] in ranks]
        merges += sorted(rules, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges


def byte_level_engine(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    patterns: Iterable[str],
    *,
    ignore_merges: bool,
) -> tokenizers.Tokenizer:
    """Build a byte-level BPE engine (GPT-2, Llama 3).

    Args:
        vocab: The id of each token, which is written in the byte alphabet.
        merges: The merge rules, first rule first.
        patterns: Regular expressions that split text into words. Each splits the pieces that the one before left.
        ignore_merges: Whether a word that is itself a token becomes this token, without merging.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    engine = Tokenizer(models.BPE(vocab=dict(vocab), merges=list(merges), ignore_merges=ignore_merges))
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def sentencepiece_engine(
    pieces: Sequence[tuple[str, float]],
    mergeable: Iterable[int],
    *,
    unknown: str | None,
    byte_fallback: bool,
    space_prefix: bool,
) -> tokenizers.Tokenizer:
    """Build a sentencepiece BPE engine (Llama 2). It does not normalise text.

    Args:
        pieces: The piece and the score of each id. The highest score is merged first.
        mergeable: The ids of ordinary pieces: not control, unknown or byte pieces.
        unknown: The piece that replaces characters without a piece.
        byte_fallback: Whether characters without a piece become byte pieces instead.
        space_prefix: Whether a space is put before each text.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    ranks = {pieces[token_id][0]: -pieces[token_id][1] for token_id in mergeable}
    engine = Tokenizer(
        models.BPE(
            vocab={piece: token_id for token_id, (piece, _) in enumerate(pieces)},
            merges=recover_merges(ranks),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=byte_fallback,
        )
    )
    prefix = [normalizers.Prepend(SPACE)] if space_prefix else []
    engine.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if space_prefix else []
    engine.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return engine


def load_engine(data: bytes, where: str) -> tokenizers.Tokenizer:
    """Read a tokenizer.json. Its settings for truncation and padding are ignored.

    Args:
        data: The content of the file.
        where: The file's name, for the error message.

    Raises:
        TokenizerError: The data is not a tokenizer.json.
    """
    from tokenizers import Tokenizer

    try:
        engine = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(f"{where} is not a tokenizer.json: {error}; download it again") from error
    engine.no_truncation()
    engine.no_padding()
    return engine


def surround(engine: tokenizers.Tokenizer, before: str | None, after: str | None) -> None:
    """Make the engine's post-processor put tokens around a text, so that programs that read a saved file do so too.

    Args:
        engine: The engine; it is changed.
        before: The token to put before a text, or None.
        after: The token to put after a text, or None.
    """
    from tokenizers import processors

    tokens = [token for token in (before, after) if token is not None]
    single = [*([before] if before is not None else []), "$A", *([after] if after is not None else [])]
    engine.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, engine.token_to_id(token)) for token in dict.fromkeys(tokens)]
    )


def tokens_around(engine: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that the engine's post-processor puts before and after a text.

    Raises:
        TokenizerError: It puts ids into the text.
    """
    text = engine.encode("a", add_special_tokens=False).ids
    whole = engine.encode("a").ids
    if not text:  # a vocabulary without this letter: nearly all post-processors put their tokens before a text
        return whole, []
    start = next((at for at in range(len(whole)) if whole[at : at + len(text)] == text), None)
    if start is None:
        raise TokenizerError(
            "the post-processor of tokenizer.json puts tokens into the text; only around it is supported"
        )
    return whole[:start], whole[start + len(text) :]


def encode(engine: tokenizers.Tokenizer, text: str) -> list[int]:
    """Convert text to ids, without the tokens that the post-processor puts around it.

    Raises:
        RequestError: The text is not valid Unicode.
    """
    try:
        return engine.encode(text, add_special_tokens=False).ids
    except TypeError as error:  # the library raises it for lone surrogates
        raise RequestError("the text is not valid Unicode") from error
