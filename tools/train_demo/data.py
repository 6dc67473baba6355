"""Turn generated text into windows of tokens: the tokenizer, the chat template, and packing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus.chat import Turn, make_chat
from corpus.prose import make_prose
from corpus.stories import make_story

BEGIN, END, END_OF_TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
SPECIAL_TOKENS = [BEGIN, END, END_OF_TURN]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
# Words keep their leading space, digits stand alone, trailing spaces are a piece of their own ("Assistant: ").
PIECES = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

Document = str | list[Turn]


def documents(seed: int, *, long_chats: bool, practice: bool = False) -> Iterator[Document]:
    """Yield training documents without end; the same seed gives the same documents.

    Args:
        seed: Seed of the random numbers.
        long_chats: Whether to add conversations that fill 512 tokens.
        practice: Whether most documents are questions, with more from the topics that need practice.
    """
    rng = random.Random(seed)
    while True:
        draw = rng.random() * (2 if practice else 1)
        if draw < 0.34:
            yield make_story(rng).text
        elif draw < 0.54:
            yield make_prose(rng)
        else:
            long = long_chats and rng.random() < 0.15
            yield make_chat(rng, exchanges=rng.randint(6, 14) if long else None, practice=practice)


def train_tokenizer(vocab_size: int, seed: int, count: int = 20000) -> Tokenizer:
    """Train a byte-level BPE on the first `count` documents. It never merges digits."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stream = documents(seed, long_chats=False)
    texts = (plain_text(next(stream)) for _ in range(count))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def plain_text(document: Document) -> str:
    """Render a document as the text that the tokenizer is trained on."""
    if isinstance(document, str):
        return document
    return "\n".join(f"{role.capitalize()}: {content}" for role, content in document)


def render(turns: list[Turn]) -> str:
    """Render a conversation up to the assistant's next turn, as the chat template does."""
    return "".join(f"{role.capitalize()}: {content.strip()}{END_OF_TURN}" for role, content in turns) + "Assistant: "


def special_ids(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Return the ids of the begin, end and end-of-turn tokens."""
    vocabulary = tokenizer.get_vocab()
    return vocabulary[BEGIN], vocabulary[END], vocabulary[END_OF_TURN]


def encode_document(tokenizer: Tokenizer, document: Document, rng: random.Random) -> list[int]:
    """Return the token ids of a document, with begin and end marks.

    "Assistant: " ends in a space. The tokenizer encodes this space alone if the model generates the answer, and
    together with the answer's first word if the conversation is rendered again later. Both forms occur in training. The
    last turn always has the first form.
    """
    begin, end, end_of_turn = special_ids(tokenizer)
    if isinstance(document, str):
        return [begin, *tokenizer.encode(document).ids, end]
    ids = [begin]
    for index, (role, content) in enumerate(document):
        prefix = f"{role.capitalize()}: "
        if role == "assistant" and (index == len(document) - 1 or rng.random() < 0.5):
            ids += tokenizer.encode(prefix).ids + tokenizer.encode(content).ids
        else:
            ids += tokenizer.encode(prefix + content).ids
        ids.append(end_of_turn)
    return ids


def pack(
    tokenizer: Tokenizer, seed: int, length: int, count: int, *, long_chats: bool, practice: bool = False
) -> np.ndarray:
    """Return `count` windows of `length` + 1 ids (uint16).

    Every window starts with the start of a document. The last document of a window is cut.
    """
    windows = np.empty((count, length + 1), np.uint16)
    stream, rng = documents(seed, long_chats=long_chats, practice=practice), random.Random(seed + 1)
    for row in range(count):
        ids: list[int] = []
        while len(ids) <= length:
            ids += encode_document(tokenizer, next(stream), rng)
        windows[row] = ids[: length + 1]
    return windows


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    It puts no token before a text: documents do so themselves.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = None
    return tokenizer
