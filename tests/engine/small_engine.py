"""A small engine over the fake backend, and what it must generate."""

from __future__ import annotations

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine, EngineStats
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, next_token


def make_engine(**settings: int) -> Engine:
    options = {"context_length": 256, "max_batch_size": 4, "max_batch_tokens": 48} | settings
    return Engine(FakeBackend(), vocab_size=VOCAB_SIZE, **options)


def expected(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


def run(engine: Engine, prompts: list[list[int]], max_new_tokens: int | None = 20) -> list[list[int]]:
    config = GenerationConfig(max_new_tokens=max_new_tokens)
    requests = [engine.request(prompt, config) for prompt in prompts]
    for request in requests:
        engine.submit(request)
    return [[output.token_id for output in engine.outputs(request)] for request in requests]


def check_idle(engine: Engine) -> None:
    """No request is left, and no block is held."""
    stats = engine.stats()
    assert stats == EngineStats(blocks=stats.blocks, free_blocks=stats.blocks, running=0, waiting=0)
