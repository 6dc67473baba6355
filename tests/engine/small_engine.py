"""A small engine over the fake backend, and what it must generate."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine
from bitnet_tt.engine.request import Request
from bitnet_tt.generation import Piece
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, next_token

THREAD = "bitnet-tt engine"


class LetterBytes:
    strip_space = False

    def __call__(self, token_id: int) -> bytes:
        return letter(token_id).encode()


class LetterTokenizer:
    """The text of each token is one letter."""

    special_ids: frozenset[int] = frozenset()
    token_bytes = LetterBytes()


def letter(token_id: int) -> str:
    return "abcdefghij"[token_id % 10]


def make_engine(backend: FakeBackend | None = None, **settings: Any) -> Engine:
    options = {"context_length": 256, "max_batch_size": 4, "max_batch_tokens": 48} | settings
    return Engine(backend or FakeBackend(), vocab_size=VOCAB_SIZE, tokenizer=LetterTokenizer(), **options)


def expected(prompt: Sequence[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


def expected_text(prompt: Sequence[int], config: GenerationConfig) -> tuple[list[int], str, str]:
    """The tokens, text and finish reason of a prompt alone, up to a context of 256 tokens."""
    tokens, text = list(prompt), ""
    while True:
        tokens.append(next_token(tokens))
        text += letter(tokens[-1])
        generated = tokens[len(prompt) :]
        cuts = [text.find(stop) for stop in config.stop if stop in text]
        if cuts:
            return generated, text[: min(cuts)], "stop"
        if len(generated) == config.max_new_tokens or len(tokens) == 256:
            return generated, text, "length"


def tokens_of(pieces: Any) -> list[int]:
    return [token_id for piece in pieces for token_id in piece.token_ids]


def run(engine: Engine, prompts: list[list[int]], max_new_tokens: int | None = 20) -> list[list[int]]:
    config = GenerationConfig(max_new_tokens=max_new_tokens)
    requests = [engine.request(prompt, config) for prompt in prompts]
    for request in requests:
        engine.submit(request)
    return [tokens_of(engine.outputs(request)) for request in requests]


def results(engine: Engine, requests: list[Request]) -> list[list[tuple]]:
    """Run requests together and return what each gave, except its times."""
    for request in requests:
        engine.submit(request)
    found = [[_timeless(piece) for piece in engine.outputs(request)] for request in requests]
    check_idle(engine)
    return found


def _timeless(piece: Piece) -> tuple:
    generated = None if piece.timings is None else (piece.timings.prompt_tokens, piece.timings.generated_tokens)
    return piece.text, piece.token_ids, piece.finish_reason, piece.logprobs, generated


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Wait until a condition is true; a cancelled request, for one, ends before the next step."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


def is_idle(engine: Engine) -> bool:
    stats = engine.stats()
    return (stats.running, stats.waiting, stats.free_blocks) == (0, 0, stats.blocks)


def check_idle(engine: Engine) -> None:
    """No request is left, and no block is held."""
    wait_for(lambda: is_idle(engine))


def engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == THREAD}
