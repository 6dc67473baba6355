"""The tokens of a request depend on its prompt and settings only, not on batches, chunks, preemption or threads. Blocks
and requests never leak, and a closed engine says so.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Batch, Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE, Engine, EngineStats, TokenOutput
from bitnet_tt.errors import DeviceError, RequestError
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


@settings(max_examples=40)
@given(
    prompts=st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=150), min_size=1, max_size=9),
    max_batch_size=st.integers(1, 5),
    max_batch_tokens=st.integers(1, 80),
    num_blocks=st.integers(1, 30),
)
def test_text_depends_on_nothing_but_the_prompt(
    prompts: list[list[int]], max_batch_size: int, max_batch_tokens: int, num_blocks: int
) -> None:
    engine = make_engine(max_batch_size=max_batch_size, max_batch_tokens=max_batch_tokens, num_blocks=num_blocks)
    assert run(engine, prompts) == [expected(prompt, 20) for prompt in prompts]


def test_preemption_gives_blocks_back_and_changes_nothing() -> None:
    engine = make_engine(num_blocks=8)
    prompts = [[i] * (BLOCK_SIZE + 5) for i in range(4)]
    assert run(engine, prompts, 100) == [expected(prompt, 100) for prompt in prompts]
    assert engine.stats() == EngineStats(blocks=8, free_blocks=8, running=0, waiting=0)


def test_the_same_beginning_is_computed_once() -> None:
    engine = make_engine()
    prompt = [i % VOCAB_SIZE for i in range(3 * BLOCK_SIZE + 5)]
    first = run(engine, [prompt])
    steps = len(engine.backend.batches)
    request = engine.request(prompt, GenerationConfig(max_new_tokens=20))
    assert [output.token_id for output in engine.outputs(request)] == first[0]
    assert request.reused == 3 * BLOCK_SIZE
    assert len(engine.backend.batches[steps].token_ids) == 5


def test_a_long_prompt_does_not_stall_the_others() -> None:
    engine = make_engine(max_batch_tokens=16)
    short = engine.request([1], GenerationConfig(max_new_tokens=10))
    engine.submit(short)
    engine.step()
    engine.submit(engine.request([2] * 200, GenerationConfig(max_new_tokens=1)))
    for _ in range(9):
        engine.step()
    assert short.finish_reason == "length"


def test_end_ids_stop_and_can_be_ignored() -> None:
    engine = make_engine()
    third = expected([5], 3)[2]
    outputs = list(engine.outputs(engine.request([5], GenerationConfig(), eos_token_ids=[third])))
    assert (outputs[-1].token_id, outputs[-1].finish_reason) == (third, "stop")
    ignoring = GenerationConfig(ignore_eos=True, max_new_tokens=9)
    assert len(list(engine.outputs(engine.request([5], ignoring, eos_token_ids=[third])))) == 9
    stopping = GenerationConfig(stop_token_ids=[third])
    assert list(engine.outputs(engine.request([5], stopping)))[-1].finish_reason == "stop"


def test_a_text_fills_the_context_and_no_more() -> None:
    engine = make_engine(context_length=50)
    assert len(run(engine, [[1] * 45], max_new_tokens=None)[0]) == 5


def test_closing_early_frees_the_blocks() -> None:
    engine = make_engine()
    outputs = engine.outputs(engine.request([1] * 100, GenerationConfig()))
    next(outputs)
    running = engine.stats()
    assert running.running == 1
    assert running.free_blocks < running.blocks
    outputs.close()
    check_idle(engine)


def test_a_request_that_nobody_iterates_does_no_work() -> None:
    engine = make_engine()
    engine.outputs(engine.request([1], GenerationConfig()))
    check_idle(engine)
    assert not engine.step()


def test_threads_share_the_engine() -> None:
    engine = make_engine()
    results: dict[int, list[int]] = {}

    def work(i: int) -> None:
        results[i] = run(engine, [[i, i + 1]], 50)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: expected([i, i + 1], 50) for i in range(6)}


def test_threads_that_finish_stop_cancel_and_score_leave_nothing_behind() -> None:
    engine = make_engine(num_blocks=8)  # too few for all: requests wait, are preempted, and scores are refused
    mistakes: list[str] = []

    def generate(rng: random.Random) -> None:
        prompt, count = rng.choices(range(VOCAB_SIZE), k=rng.randrange(1, 120)), rng.randrange(1, 40)
        request = engine.request(prompt, GenerationConfig(max_new_tokens=count))
        outputs = engine.outputs(request)
        taken = rng.choice([0, count // 2, count])  # 0: cancelled before its first token
        if not taken:
            engine.submit(request)
            engine.cancel(request)
        tokens = [output.token_id for output in itertools.islice(outputs, taken)]
        outputs.close()
        if tokens != expected(prompt, taken):
            mistakes.append(f"{len(tokens)} of {taken} tokens")

    def score(rng: random.Random) -> None:
        text = rng.choices(range(VOCAB_SIZE), k=rng.randrange(1, 256))
        chunks = engine.score(text)
        with contextlib.suppress(RequestError):
            for start, chunk in itertools.islice(chunks, rng.randrange(1, 7)):
                wanted = [next_token(text[: start + i + 1]) for i in range(len(chunk))]
                if np.argmax(chunk, axis=-1).tolist() != wanted:
                    mistakes.append(f"scores from {start} on")
        chunks.close()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            (score if seed < 2 else generate)(rng)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert mistakes == []
    check_idle(engine)


def test_a_last_token_that_another_thread_samples_is_not_lost() -> None:
    engine = make_engine()
    request = engine.request([5], GenerationConfig(max_new_tokens=3))

    class Racing(deque[TokenOutput]):
        """Lets another thread step at the worst moment: just after the owner of the request saw no token."""

        def __len__(self) -> int:
            length = super().__len__()
            if not length:
                thread = threading.Thread(target=engine.step)
                thread.start()
                thread.join(timeout=0.2)  # the step waits if the owner holds the lock
            return length

    request.outputs = Racing()
    assert [output.token_id for output in engine.outputs(request)] == expected([5], 3)


def test_a_token_that_cannot_be_sampled_changes_no_other_request() -> None:
    class FailingBackend(FakeBackend):
        def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
            rows = super().candidates(batch, filters)
            return [
                Candidates(np.empty(0, np.float32)) if one.passes_all else row
                for row, one in zip(rows, filters, strict=True)
            ]

    engine = Engine(FailingBackend(), vocab_size=VOCAB_SIZE, context_length=256)
    failing = engine.request([1], GenerationConfig(temperature=1.0))
    good = [engine.request([token], GenerationConfig(max_new_tokens=20)) for token in (2, 3)]
    for request in (good[0], failing, good[1]):
        engine.submit(request)
    for _ in range(2):
        with pytest.raises(ValueError, match="zero-size"):
            list(engine.outputs(failing))
        failing = engine.request([1], GenerationConfig(temperature=1.0))
    tokens = [[output.token_id for output in engine.outputs(request)] for request in good]
    assert tokens == [expected([token], 20) for token in (2, 3)]
    check_idle(engine)


def test_a_cancelled_request_is_not_queued_again() -> None:
    engine = make_engine()
    request = engine.request([5], GenerationConfig())
    engine.cancel(request)
    engine.submit(request)
    assert list(engine.outputs(request)) == []
    check_idle(engine)


class SmallBackend(FakeBackend):
    def allocate(self, num_blocks: int, block_size: int) -> None:
        if num_blocks > 20:
            raise DeviceError("too little memory")
        super().allocate(num_blocks, block_size)


def test_a_small_device_gets_a_smaller_cache_but_never_less_than_a_text() -> None:
    engine = Engine(SmallBackend(), vocab_size=VOCAB_SIZE, context_length=256, max_batch_size=4)
    assert engine.stats().blocks == 16
    prompts = [[i] * 200 for i in range(4)]
    assert run(engine, prompts) == [expected(prompt, 20) for prompt in prompts]
    for too_much in ({"context_length": 1024}, {"context_length": 256, "num_blocks": 30}):
        with pytest.raises(DeviceError, match="memory"):
            Engine(SmallBackend(), vocab_size=VOCAB_SIZE, **too_much)


def test_score_returns_every_position() -> None:
    engine = make_engine()
    text = [i % VOCAB_SIZE for i in range(120)]
    picked = [int(token) for _, chunk in engine.score(text) for token in np.argmax(chunk, axis=-1)]
    assert picked == [next_token(text[: i + 1]) for i in range(120)]
    check_idle(engine)


def test_another_thread_steps_between_two_chunks_of_a_score() -> None:
    engine = make_engine()
    text = [i % VOCAB_SIZE for i in range(120)]
    chunks = engine.score(text)
    first = next(chunks)
    before = first[1].copy()
    results: list[list[int]] = []
    thread = threading.Thread(target=lambda: results.append(run(engine, [[5]])[0]), daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert results == [expected([5], 20)]
    assert np.array_equal(first[1], before)
    picked = [int(token) for _, chunk in [first, *chunks] for token in np.argmax(chunk, axis=-1)]
    assert picked == [next_token(text[: i + 1]) for i in range(120)]
    check_idle(engine)


def test_a_request_waits_for_the_blocks_of_a_score() -> None:
    engine = make_engine(num_blocks=8)
    chunks = engine.score([1] * 256)
    next(chunks)
    assert engine.stats().free_blocks == 0
    results: list[list[int]] = []
    thread = threading.Thread(target=lambda: results.append(run(engine, [[5]])[0]), daemon=True)
    thread.start()
    while not engine.stats().waiting:
        time.sleep(0.001)
    assert results == []
    chunks.close()
    thread.join(timeout=30)
    assert results == [expected([5], 20)]
    check_idle(engine)


def test_a_score_without_blocks_is_refused() -> None:
    engine = make_engine(num_blocks=8)
    outputs = engine.outputs(engine.request([1] * 100, GenerationConfig()))
    next(outputs)
    with pytest.raises(RequestError, match="in use by other requests"):
        next(engine.score([1] * 200))
    outputs.close()
    check_idle(engine)


def test_close_closes_the_backend_and_later_calls_say_so() -> None:
    engine = make_engine()
    outputs = engine.outputs(engine.request([5], GenerationConfig()))
    chunks = engine.score([1] * 100)
    unsubmitted = engine.request([5], GenerationConfig())
    next(outputs)
    next(chunks)
    engine.close()
    engine.close()
    assert engine.backend.closings == 1
    for later in (
        lambda: next(outputs),
        lambda: next(chunks),
        lambda: next(engine.score([1])),
        lambda: engine.request([5], GenerationConfig()),
        lambda: engine.submit(unsubmitted),
        engine.step,
    ):
        with pytest.raises(DeviceError, match="closed; load it again"):
            later()
    check_idle(engine)


def test_close_ends_a_thread_that_waits_for_blocks() -> None:
    engine = make_engine(num_blocks=8)
    chunks = engine.score([1] * 256)
    next(chunks)
    errors: list[Exception] = []

    def work() -> None:
        try:
            run(engine, [[5]])
        except DeviceError as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not engine.stats().waiting:
        time.sleep(0.001)
    engine.close()
    thread.join(timeout=30)
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "empty"), ([1] * 256, "256 tokens"), ([VOCAB_SIZE], "97"), ([3, -1], "-1")],
)
def test_prompts_that_the_model_cannot_take_are_refused(prompt: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_engine().request(prompt, GenerationConfig())


def test_log_probabilities_are_reported_on_request() -> None:
    engine = make_engine()
    (output,) = engine.outputs(engine.request([4], GenerationConfig(max_new_tokens=1, logprobs=3)))
    assert output.logprob is not None
    assert output.logprob.token_id == output.token_id == output.logprob.top[0][0]
    assert len(output.logprob.top) == 3
    assert output.logprob.logprob == pytest.approx(np.log(np.e / (np.e + VOCAB_SIZE - 1)))


def test_each_row_has_the_filter_of_its_request() -> None:
    engine = make_engine()
    settings = [{}, {"temperature": 1.0, "top_k": 5}, {"logprobs": 0}]
    requests = [engine.request([1], GenerationConfig(**option, max_new_tokens=1)) for option in settings]
    for request in requests:
        engine.submit(request)
    engine.step()
    assert engine.backend.filters == [[LogitFilter(count=1), LogitFilter(count=5), LogitFilter()]]
