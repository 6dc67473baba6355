"""A tokenizer for random models: as many tokens and merge rules as a real one, so that it takes as long to load.

Its words are random. Each token is a shorter one and one more letter. With 128,256 tokens it has 274 thousand merge
rules and a file of 7.7 MB. The tokenizer of Llama 3 and 2B4T has 280 thousand rules and 9.1 MB.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from bitnet_tt.errors import ConfigError
from bitnet_tt.formats.staging import staged
from bitnet_tt.tokenizer import bpe

_SPECIAL = 256
"""Special tokens, the last ids: as many as Llama 3 has."""

_LEAST = 2 * 256 + _SPECIAL
"""The smallest vocabulary: one token for each byte, a few longer ones, and the special ones."""

_LETTERS = "etaoinshrdlucmfwygpbvkxqjz"
_BIAS = 1.3
"""How much more frequent a letter is than later ones: letter n has the weight (n + 2) ** -bias."""

_SPACES = 20
"""How many times more words begin with a space than with any one letter."""

_BYTES_PER_TOKEN = 80


def add_tokenizer(checkpoint: Path, vocab_size: int) -> None:
    """Write the tokenizer.json of a random model of `vocab_size` tokens into its folder, unless there is one.

    Raises:
        ConfigError: The vocabulary is too small for a tokenizer.
        CheckpointError: The file cannot be written.
    """
    target = checkpoint / "tokenizer.json"
    if target.exists():
        return
    if vocab_size < _LEAST:
        raise ConfigError(f"a random tokenizer needs a vocabulary of at least {_LEAST} tokens, not {vocab_size}")
    text = tokenizer_json(vocab_size)
    with staged(target, vocab_size * _BYTES_PER_TOKEN) as path:
        path.write_text(text, encoding="utf-8")


def tokenizer_json(vocab_size: int) -> str:
    """Return the text of a tokenizer.json in the form of Llama 3's."""
    vocab = {token: token_id for token_id, token in enumerate(_tokens(vocab_size - _SPECIAL))}
    engine = bpe.byte_level_engine(vocab, [], [bpe.LLAMA3_PATTERN], ignore_merges=True)
    special = [f"<|special_{index}|>" for index in range(_SPECIAL)]
    engine.add_special_tokens(special)
    bpe.surround(engine, special[0], None)
    data = json.loads(engine.to_str())
    data["model"]["merges"] = [" ".join(pair) for pair in bpe.recover_merges(vocab)]
    return json.dumps(data, ensure_ascii=False, indent=2)


def _tokens(count: int) -> list[str]:
    """Return tokens in the byte alphabet, the earliest merged first: the bytes, and words that grow by letters."""
    rng = random.Random(0)
    alphabet = bpe.byte_alphabet()
    tokens = sorted(alphabet.values())
    letters = [alphabet[ord(letter)] for letter in _LETTERS]
    weights = [(index + 2) ** -_BIAS for index in range(len(letters))]
    beginnings = [alphabet[ord(" ")]] * _SPACES + letters
    known = set(tokens)
    while len(tokens) < count:
        # The shorter of two keeps the mean length near that of real tokens.
        beginning = min(rng.choice(beginnings), rng.choice(beginnings), key=len)
        token = beginning + rng.choices(letters, weights)[0]
        if token not in known:
            known.add(token)
            tokens.append(token)
            beginnings.append(token)
    return tokens
