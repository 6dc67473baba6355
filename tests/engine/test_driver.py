"""One thread steps for all others: it loses nothing, mixes nothing up, keeps nobody waiting, and ends."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import Engine
from bitnet_tt.errors import DeviceError, DrainingError, QueueFullError, RequestError
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, GatedBackend, SlowBackend, next_token
from tests.engine.small_engine import (
    check_idle,
    engine_threads,
    expected,
    expected_text,
    make_engine,
    run,
    tokens_of,
    wait_for,
)


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


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(8, 24), st.integers(1, 5), st.integers(3, 60))
def test_any_interleaving_gives_each_request_what_it_gives_alone(
    rng: random.Random, num_blocks: int, max_batch_size: int, max_batch_tokens: int
) -> None:
    """Threads generate, stop, cancel, time out and score at once, with too few blocks for all."""
    engine = make_engine(num_blocks=num_blocks, max_batch_size=max_batch_size, max_batch_tokens=max_batch_tokens)
    mistakes: list[str] = []

    def generate(rng: random.Random) -> None:
        prompt = rng.choices(range(VOCAB_SIZE), k=rng.randrange(1, 120))
        stop = ["".join(rng.choices("abcdefghij", k=2)) for _ in range(rng.randrange(3))]
        config = GenerationConfig(max_new_tokens=rng.randrange(1, 40), stop=stop)
        timeout = rng.choice([None, None, 30.0, 1e-4])
        request = engine.request(prompt, config, timeout=timeout, cache_key=rng.choice("ab"))
        if rng.random() < 0.1:  # cancelled before it was submitted
            engine.cancel(request)
            engine.submit(request)
            if list(engine.outputs(request)):
                mistakes.append("a cancelled request was computed")
            return
        taken = rng.choice([0, 3, 1000])  # some readers leave early
        text, tokens, reason = "", [], None
        outputs = engine.outputs(request)
        for count, piece in enumerate(outputs):
            text, tokens, reason = text + piece.text, [*tokens, *piece.token_ids], piece.finish_reason
            if reason:
                assert piece.timings is not None
                if piece.timings.generated_tokens != len(tokens):
                    mistakes.append(f"{piece.timings} of {len(tokens)} tokens")
            if count == taken:
                break
            if rng.random() < 0.05:
                time.sleep(0.002)  # a slow reader
        outputs.close()
        wanted_tokens, wanted_text, wanted_reason = expected_text(prompt, config)
        if reason in (None, "timeout"):
            if tokens != wanted_tokens[: len(tokens)] or not wanted_text.startswith(text):
                mistakes.append(f"a part of the text is wrong: {text!r} of {wanted_text!r}")
        elif (tokens, text, reason) != (wanted_tokens, wanted_text, wanted_reason):
            mistakes.append(f"{(text, reason)} is not {(wanted_text, wanted_reason)}")

    def score(rng: random.Random) -> None:
        text = rng.choices(range(VOCAB_SIZE), k=rng.randrange(2, 256))
        wanted = [next_token(text[: i + 1]) for i in range(len(text))]
        if rng.random() < 0.5:
            if np.argmax(engine.logits(text), axis=-1).tolist() != wanted:
                mistakes.append("logits")
        elif [one.top[0][0] for one in engine.score(text, top=1, cache_key=rng.choice("ab"))] != wanted[:-1]:
            mistakes.append("scores")

    def work(seed: int, action: int) -> None:
        own = random.Random(seed)
        for _ in range(4):
            try:
                (score if action == 0 else generate)(own)
            except BaseException as error:
                mistakes.append(repr(error))

    threads = [threading.Thread(target=work, args=(rng.randrange(1 << 30), i), daemon=True) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert mistakes == []
    check_idle(engine)
    engine.close()
    assert engine.join(timeout=20)


def test_nobody_waits_for_a_step() -> None:
    before = engine_threads()
    engine = make_engine(GatedBackend())
    first, second = (engine.request([i], GenerationConfig(max_new_tokens=3)) for i in range(2))
    engine.submit(first)
    engine.backend.entered.wait()
    started = time.monotonic()
    engine.submit(second)
    assert (engine.stats().running, engine.stats().waiting) == (1, 1)
    engine.cancel(first)
    engine.drain(timeout=0)
    engine.close()
    assert time.monotonic() - started < 20  # the gate opens later
    assert engine.stats().step_seconds > 0
    assert not engine.join(timeout=0.01)
    assert engine.backend.closings == 0
    engine.backend.gate.set()
    assert engine.join(timeout=20)
    assert engine.backend.closings == 1
    assert engine_threads() == before


def test_closing_ends_the_threads_that_wait() -> None:
    engine = make_engine(GatedBackend())
    errors: list[str] = []

    def work(action: int) -> None:
        try:
            if action == 0:
                engine.score([1] * 200)
            else:
                list(engine.outputs(engine.request([action], GenerationConfig())))
        except DeviceError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(7)]  # some run, some wait
    for thread in threads:
        thread.start()
    wait_for(lambda: engine.stats().running + engine.stats().waiting == 7)
    engine.close()
    engine.backend.gate.set()
    for thread in threads:
        thread.join(timeout=20)
    assert errors == ["this model is closed; load it again"] * 7
    check_idle(engine)


def test_an_idle_engine_takes_no_processor_time() -> None:
    engine = make_engine()
    run(engine, [[1]])
    check_idle(engine)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05
    assert run(engine, [[2]]) == [expected([2], 20)]


def test_an_engine_that_nobody_holds_ends_its_thread_and_leaves_the_backend_open() -> None:
    before = engine_threads()
    backend = GatedBackend()
    engine = make_engine(backend)
    engine.submit(engine.request([1], GenerationConfig()))
    backend.entered.wait()
    assert len(engine_threads() - before) == 1
    del engine
    gc.collect()
    backend.gate.set()
    wait_for(lambda: engine_threads() <= before)
    assert backend.closings == 0
    assert len(backend.batches) <= 2


@pytest.mark.parametrize("end", ["pass", "import sys; sys.exit(3)", "1 / 0"])
def test_a_running_engine_does_not_keep_the_interpreter_alive(end: str) -> None:
    code = f"""
from bitnet_tt import BitNetModel, GenerationConfig
model = BitNetModel.from_pretrained("demo")
for _ in range(4):
    model.engine.submit(model.engine.request([1, 2], GenerationConfig(max_new_tokens=None, ignore_eos=True)))
stream = model.stream("Once")
next(stream)
{end}
"""
    program = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert program.returncode == {"pass": 0, "1 / 0": 1}.get(end, 3)
    assert program.stderr == "" or (end == "1 / 0" and program.stderr.endswith("ZeroDivisionError: division by zero\n"))


def test_ctrl_c_ends_the_wait_and_the_request() -> None:
    engine = make_engine(GatedBackend())
    timer = threading.Timer(0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.outputs(engine.request([1] * 200, GenerationConfig())))
    assert len(engine.backend.batches) == 0
    engine.backend.gate.set()
    check_idle(engine)
    assert len(engine.backend.batches) == 1  # the step that had begun, of 48 tokens


def test_a_stop_string_ends_the_steps_and_the_count() -> None:
    for slow in (False, True):
        engine = make_engine()
        prompt, config = [3, 1, 4], GenerationConfig(max_new_tokens=100)
        tokens, text, _ = expected_text(prompt, config)
        end = 17
        stopping = GenerationConfig(max_new_tokens=100, stop=[text[end - 3 : end]])
        count = text.index(text[end - 3 : end]) + 3
        pieces = []
        for piece in engine.outputs(engine.request(prompt, stopping)):
            pieces.append(piece)
            time.sleep(0.005 if slow else 0)
        assert "".join(piece.text for piece in pieces) == text[: count - 3]
        assert tokens_of(pieces) == tokens[:count]
        assert pieces[-1].finish_reason == "stop"
        assert pieces[-1].timings.generated_tokens == count
        assert len(engine.backend.batches) == count


def test_a_timeout_ends_the_text_with_what_there_is() -> None:
    engine = make_engine(SlowBackend(0.01, 0))
    request = engine.request([5], GenerationConfig(max_new_tokens=None, stop=["abcabcabc"]), timeout=0.2)
    pieces = list(engine.outputs(request))
    assert pieces[-1].finish_reason == "timeout"
    tokens = tokens_of(pieces)
    assert 1 <= len(tokens) <= 20
    assert pieces[-1].timings.generated_tokens == len(tokens)
    wanted = expected_text([5], GenerationConfig(max_new_tokens=len(tokens)))
    assert (tokens, "".join(piece.text for piece in pieces)) == wanted[:2]
    check_idle(engine)
    for timeout in (0, -1, float("nan")):
        with pytest.raises(RequestError, match="timeout"):
            engine.request([5], GenerationConfig(), timeout=timeout)


def test_a_timeout_also_counts_the_wait() -> None:
    engine = make_engine(SlowBackend(0.01, 0), max_batch_size=1)
    running = engine.request([5], GenerationConfig(max_new_tokens=60))
    engine.submit(running)
    (piece,) = engine.outputs(engine.request([6], GenerationConfig(), timeout=0.1))
    assert (piece.text, piece.token_ids, piece.finish_reason) == ("", (), "timeout")
    assert piece.timings.queue_seconds == piece.timings.first_token_seconds >= 0.1
    assert tokens_of(engine.outputs(running)) == expected([5], 60)


def test_another_thread_ends_a_stream_with_a_last_piece() -> None:
    engine = make_engine(SlowBackend(0.001, 0))
    request = engine.request([5], GenerationConfig(max_new_tokens=None))
    outputs = engine.outputs(request)
    pieces = [next(outputs)]
    engine.cancel(request)
    pieces += outputs
    assert pieces[-1].finish_reason == "cancelled"
    assert pieces[-1].timings.generated_tokens == len(tokens_of(pieces))
    assert list(engine.outputs(request)) == []
    check_idle(engine)


def test_a_full_queue_refuses_a_request_and_takes_it_later() -> None:
    engine = make_engine(GatedBackend(), max_batch_size=2, max_queue=1)
    requests = [engine.request([i], GenerationConfig(max_new_tokens=3)) for i in range(4)]
    for request in requests[:3]:
        engine.submit(request)
    with pytest.raises(QueueFullError, match="3 requests"):
        engine.submit(requests[3])
    with pytest.raises(QueueFullError):
        engine.score([1, 2])
    engine.submit(requests[0])  # nothing changes
    engine.backend.gate.set()
    assert [tokens_of(engine.outputs(request)) for request in requests] == [expected([i], 3) for i in range(4)]
    check_idle(engine)


def test_a_cancelled_request_makes_room_in_the_queue() -> None:
    engine = make_engine(GatedBackend(), max_batch_size=1, max_queue=0)
    request = engine.request([1], GenerationConfig())
    engine.submit(request)
    engine.backend.gate.set()
    engine.cancel(request)
    wait_for(lambda: request.ended)
    check_idle(engine)
    assert run(engine, [[2]]) == [expected([2], 20)]


def test_draining_refuses_new_requests_and_waits_for_the_others() -> None:
    engine = make_engine(GatedBackend())
    running = engine.request([1], GenerationConfig(max_new_tokens=3))
    engine.submit(running)
    assert not engine.drain(timeout=0.01)
    with pytest.raises(DrainingError):
        engine.submit(engine.request([2], GenerationConfig()))
    engine.backend.gate.set()
    assert engine.drain(timeout=20)
    assert tokens_of(engine.outputs(running)) == expected([1], 3)


def test_a_device_that_cannot_be_closed_says_so() -> None:
    class StuckBackend(FakeBackend):
        def close(self) -> None:
            raise DeviceError("the card is stuck")

    engine: Engine = make_engine(StuckBackend())
    run(engine, [[1]])
    engine.close()
    with pytest.raises(DeviceError, match="stuck"):
        engine.join(timeout=20)


FREED_AT_EXIT = """
import time
from bitnet_tt.config import GenerationConfig
from tests.engine.fake_backend import FakeBackend
from tests.engine.small_engine import make_engine

class Backend(FakeBackend):
    def __del__(self):
        time.sleep(0.3)
        print("freed", flush=True)

def use():
    engine = make_engine(Backend())
    list(engine.outputs(engine.request([5], GenerationConfig(max_new_tokens=3))))

use()
time.sleep(0.1)  # the thread ends, and frees the backend
"""


def test_the_end_of_the_program_waits_for_a_backend_that_is_being_freed() -> None:
    """A thread that is in native code when the interpreter exits aborts the process."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", FREED_AT_EXIT], capture_output=True, text=True, cwd=root, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "freed\n", "")
