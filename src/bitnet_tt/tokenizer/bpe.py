"""What BPE vocabularies have in common: merges recovered from ranks, the byte alphabet, the engines built on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from bitnet_tt.errors import TokenizerError

if TYPE_CHECKING:
    import tokenizers

SPACE = "▁"

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + index) for index, byte in enumerate(others)}


def recover_merges(ranks: Mapping[str, float]) -> list[tuple[str, str]]:
    """Merge rules for a vocabulary that only says which tokens come first.

    Tiktoken and sentencepiece merge the neighbours whose union has the lowest rank, however it is split, so each split
    of a token into two tokens is a rule, ordered by the token's rank.

    Args:
        ranks: Every mergeable token and its rank; lower is merged earlier.
    """
    merges: list[tuple[str, str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        splits = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [pair for pair in splits if pair[0] in ranks and pair[1] in ranks]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges


def byte_level_engine(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    patterns: Iterable[str],
    *,
    ignore_merges: bool,
) -> tokenizers.Tokenizer:
    """A byte-level BPE engine (GPT-2, Llama 3).

    Args:
        vocab: Tokens in the byte alphabet, and their ids.
        merges: Merge rules, first to last.
        patterns: Regular expressions that cut text into words, each applied to the pieces of the one before.
        ignore_merges: Whether a word that is a token is taken whole, without merging.
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
    normal: Iterable[int],
    *,
    unknown: str | None,
    byte_fallback: bool,
    space_prefix: bool,
) -> tokenizers.Tokenizer:
    """A sentencepiece BPE engine (Llama 2) without a normaliser of its own.

    Args:
        pieces: Each id's piece and score; the highest score is merged first.
        normal: Ids of the pieces that text is made of: not control, unknown or byte pieces.
        unknown: The piece of characters that have none.
        byte_fallback: Whether such characters become byte pieces instead.
        space_prefix: Whether text gets a space in front.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    ranks = {pieces[token_id][0]: -pieces[token_id][1] for token_id in normal}
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
    """Read a tokenizer.json, without the truncation and padding it may ask for.

    Raises:
        TokenizerError: It is not one; the message says where it was.
    """
    from tokenizers import Tokenizer

    try:
        engine = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(f"{where} is not a tokenizer.json: {error}; download it again") from error
    engine.no_truncation()
    engine.no_padding()
    return engine


def prepend_bos(engine: tokenizers.Tokenizer, bos_token: str) -> None:
    """Make the engine's own post-processor put `bos_token` first, so that other tools that read the file do it too."""
    from tokenizers import processors

    engine.post_processor = processors.TemplateProcessing(
        single=[bos_token, "$A"], special_tokens=[(bos_token, engine.token_to_id(bos_token))]
    )
