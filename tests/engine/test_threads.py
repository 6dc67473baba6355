"""Threads share one engine: no token is lost, no block leaks, and no thread waits forever."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import deque

import numpy as np

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import TokenOutput
from bitnet_tt.errors import DeviceError, RequestError
from tests.engine.fake_backend import VOCAB_SIZE, next_token
from tests.engine.small_engine import check_idle, expected, make_engine, run


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
