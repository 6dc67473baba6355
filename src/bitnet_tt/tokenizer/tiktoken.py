"""Read Llama 3's `tokenizer.model`, in tiktoken's format: each line has a token's bytes in base64 and its rank."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.bpe import LLAMA3_PATTERN, byte_alphabet, byte_level_engine, recover_merges

if TYPE_CHECKING:
    import tokenizers

BOS_TOKEN = "<|begin_of_text|>"
EOS_TOKEN = "<|end_of_text|>"


def read_ranks(path: Path) -> dict[bytes, int] | None:
    """Return the rank of each token, or None if the file has another format."""
    ranks: dict[bytes, int] = {}
    try:
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                ranks[binascii.a2b_base64(token, strict_mode=True)] = int(rank)
    except ValueError:
        return None
    return ranks or None


def build_engine(
    path: Path, ranks: Mapping[bytes, int], special_tokens: Mapping[int, str]
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Build the engine of a Llama 3 vocabulary.

    Args:
        path: The file, for the error message.
        ranks: The rank of each token. It is also the token's id.
        special_tokens: Special tokens by id, from tokenizer_config.json. If empty, Llama 3's are added.

    Returns:
        The engine, and its special tokens by use, such as `bos_token`.

    Raises:
        TokenizerError: The ranks are not 0, 1, 2, ..., or one of the 256 single bytes is not a token.
    """
    if sorted(ranks.values()) != list(range(len(ranks))) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise TokenizerError(f"{path}: ranks have gaps or single bytes are missing; download the file again")
    from tokenizers import AddedToken

    alphabet = byte_alphabet()
    vocab = {"".join(alphabet[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = recover_merges(vocab)
    specials = special_tokens or dict(enumerate(_llama3_special_tokens(), start=len(vocab)))
    vocab |= {token: token_id for token_id, token in specials.items()}
    engine = byte_level_engine(vocab, merges, (LLAMA3_PATTERN,), ignore_merges=True)
    engine.add_special_tokens([AddedToken(token, normalized=False) for token in specials.values()])
    names = {"bos_token": BOS_TOKEN, "eos_token": EOS_TOKEN}
    return engine, {use: token for use, token in names.items() if token in specials.values()}


def _llama3_special_tokens() -> list[str]:
    """Return the 256 special tokens, which follow the 128,000 of the file (meta-llama/llama3, llama/tokenizer.py)."""
    reserved = [f"<|reserved_special_token_{index}|>" for index in range(251)]
    headers = ["<|start_header_id|>", "<|end_header_id|>"]
    return [BOS_TOKEN, EOS_TOKEN, *reserved[:4], *headers, reserved[4], "<|eot_id|>", *reserved[5:]]
