"""Long prompts are cut so that running streams keep a bounded time between two tokens, and no bit changes."""

from __future__ import annotations

import pytest

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine
from tests.engine.fake_backend import SlowBackend
from tests.engine.small_engine import expected, make_engine, run, tokens_of, wait_for

STEP, TOKEN = 0.002, 0.0005
"""Seconds of a step, and of each token of it."""


def slow_engine(max_stall_ms: float | None) -> Engine:
    return make_engine(
        SlowBackend(STEP, TOKEN), context_length=1024, max_batch_tokens=512, max_stall_ms=max_stall_ms, num_blocks=100
    )


def seconds_while_streaming(engine: Engine, *, score: bool = False) -> list[float]:
    """Read a prompt of 600 tokens while a stream runs; return the time of each step with both."""
    stream = engine.request([5], GenerationConfig(max_new_tokens=900))
    engine.submit(stream)
    wait_for(lambda: stream.generated > 3)
    if score:
        engine.score([7] * 600)
    else:
        assert run(engine, [[7] * 600], 1) == [expected([7] * 600, 1)]
    engine.cancel(stream)
    tokens = tokens_of(engine.outputs(stream))
    assert tokens == expected([5], len(tokens))
    backend = engine.backend
    return [
        seconds
        for seconds, batch in zip(backend.seconds, backend.batches, strict=True)
        if len(batch.starts) > 2 and len(batch.token_ids) > 2
    ]


@pytest.mark.parametrize("score", [False, True])
def test_a_long_prompt_stalls_a_stream_no_longer_than_asked(score: bool) -> None:
    together = seconds_while_streaming(slow_engine(50), score=score)
    assert max(together) < 0.06
    assert len(together) < 600 * TOKEN / 0.050 * 4 + 6  # and yet the prompt is read in big steps


def test_without_a_limit_a_prompt_is_read_at_once() -> None:
    assert max(seconds_while_streaming(slow_engine(None))) > 500 * TOKEN


def test_without_streams_prompts_are_read_as_fast_as_possible() -> None:
    engine = slow_engine(20)
    engine.score([3] * 601)
    run(engine, [[7] * 600], 1)
    assert [len(batch.token_ids) for batch in engine.backend.batches] == [512, 88, 512, 88]


def test_a_prompt_gets_on_however_slow_the_machine_is() -> None:
    together = seconds_while_streaming(slow_engine(0.1))
    assert len(together) == pytest.approx(600 / 16, abs=2)
