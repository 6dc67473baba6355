"""The text to train on: a tokenizer for it, its token ids, and windows of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Trainee
from tokenizers import decoders, models, pre_tokenizers, trainers

from bitnet_tt.errors import RequestError
from bitnet_tt.tokenizer import Tokenizer

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"


def train_tokenizer(texts: Sequence[str], vocab_size: int, folder: Path) -> None:
    """Train a byte-level BPE tokenizer and write its files into a folder. Ids 0 and 1 begin and end a text."""
    tokenizer = Trainee(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the ids of all texts, one after the other. Each begins and ends as the tokenizer's texts do."""
    end = sorted(tokenizer.eos_token_ids)[:1]
    return np.array([token for text in texts for token in (*tokenizer.encode(text), *end)], np.int64)


def draw_windows(ids: NDArray[np.int64], count: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` random windows [count, length] of the ids.

    Raises:
        RequestError: There are fewer ids than that.
    """
    if len(ids) < length:
        raise RequestError(f"the text has {len(ids)} tokens, fewer than a window of {length}; use more text")
    starts = rng.integers(0, len(ids) - length + 1, count)
    return ids[starts[:, None] + np.arange(length)]
